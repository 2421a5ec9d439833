// A C target needs a source file; the shims are inline.
#include "CLinux.h"
