// The way from an executable into the tool of its name. C only: an executable has no libc++ of its own.

#include <cstdio>
#include <cstring>

// Upstream's entry points; where a tool has only a main, the build renames it.
#define TOOL(function, name, argv_t) int function(int argc, argv_t argv);
#include "tools.inc"
#undef TOOL

extern "C" int caravan_run_tool(const char * name, int argc, char ** argv) {
#define TOOL(function, tool_name, argv_t)                     \
    if (std::strcmp(name, tool_name) == 0) {                  \
        return function(argc, const_cast<argv_t>(argv));      \
    }
#include "tools.inc"
#undef TOOL
    std::fprintf(stderr, "%s: not in this build\n", name);
    return 1;
}
