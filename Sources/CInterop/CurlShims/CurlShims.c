// SwiftPM wants at least one source in a C target; everything is in the header.
#include "CurlShims.h"
