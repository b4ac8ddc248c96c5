int caravan_run_tool(const char * name, int argc, char ** argv);

int main(int argc, char ** argv) {
    return caravan_run_tool(CARAVAN_TOOL, argc, argv);
}
