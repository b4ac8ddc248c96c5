# Many small files of llama.cpp are mostly the same headers again: compiled as one, they cost a fraction.
#
# In seconds of CPU with gcc 12, alone and together: the 45 models of mtmd 46 and 5, the 16 parsers 48 and 9, the rest of
# common 138 and 75. (llama itself is built so by upstream. ggml is left alone: it is where speed comes from.)

# Compiles the files of `target` whose paths match `pattern`, but not those that match a third one, as one.
function(caravan_unite target group pattern)
    get_target_property(directory ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources INCLUDE REGEX "${pattern}")
    if(ARGN)
        list(FILTER sources EXCLUDE REGEX "${ARGN}")
    endif()
    list(LENGTH sources count)
    if(count LESS 2)
        message(FATAL_ERROR "${target} has no files like ${pattern} any more: see unity.cmake")
    endif()
    list(TRANSFORM sources PREPEND "${directory}/" REGEX "^[^/]")
    set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES UNITY_GROUP "${group}")
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# Four groups in common, so that many CPUs have something to do. json.cpp gives a name to another type than its header does.
caravan_unite(llama-common parsers "parsers/.*\\.cpp$")
caravan_unite(llama-common jinja "jinja/.*\\.cpp$")
caravan_unite(llama-common chat "^(chat|peg).*\\.cpp$")
caravan_unite(llama-common common "^[^/]*\\.cpp$" "^(chat|peg).*|json\\.cpp$")
caravan_unite(mtmd models "models/.*\\.cpp$")
