// The way from an executable into the tool of its name. C only: an executable has no libc++ of its own.

#include <cstdio>
#include <cstring>

struct tool {
    const char * name;
    int (*run)(int argc, char ** argv);
};

// Upstream's entry points; where a tool has only a main, the build renames it.
#define TOOL(function, name) int function(int argc, char ** argv);
#include "tools.inc"
#undef TOOL

static const tool tools[] = {
#define TOOL(function, name) { name, function },
#include "tools.inc"
#undef TOOL
};

extern "C" int caravan_run_tool(const char * name, int argc, char ** argv) {
    for (const tool & tool : tools) {
        if (std::strcmp(tool.name, name) == 0) {
            return tool.run(argc, argv);
        }
    }
    std::fprintf(stderr, "%s: not in this build\n", name);
    return 1;
}
