#pragma once

/// How many blocks of memory this program has asked for since it started, by any of malloc's functions.
unsigned long allocation_count(void);
