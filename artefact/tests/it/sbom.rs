//! The bill of materials that a sealed build holds.

use std::fs;

use artefact::seal;
use diagnostic::codes;
use insta::assert_snapshot;
use serde_json::Value;

use crate::support::*;

fn document(root: &std::path::Path) -> String {
    fs::read_to_string(root.join("share/sbom.cdx.json")).unwrap()
}

#[test]
fn it_lists_source_patches_licences_tools_and_files() {
    let text = document(sealed().path());
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let files: Vec<String> = value["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|component| component["type"] == "file")
        .map(|component| component["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(files[..2], ["bin/llama-bench", "bin/llama-server"]);
    assert!(!files.iter().any(|path| path.ends_with(".json")), "{files:?}");
    value["components"].as_array_mut().unwrap().retain(|c| c["type"] != "file" || c["name"] == "bin/llama-bench");
    assert_snapshot!(serde_json::to_string_pretty(&value).unwrap(), @r#"
    {
      "bomFormat": "CycloneDX",
      "specVersion": "1.6",
      "serialNumber": "urn:uuid:5b61787c-6cd0-8170-bee5-d1502a041588",
      "version": 1,
      "metadata": {
        "timestamp": "2026-10-01T00:00:00Z",
        "tools": {
          "components": [
            {
              "type": "application",
              "name": "caravan",
              "externalReferences": [
                {
                  "type": "vcs",
                  "url": "https://github.com/caravan-llm/caravan"
                }
              ]
            }
          ]
        },
        "component": {
          "type": "application",
          "bom-ref": "pkg:github/ggml-org/llama.cpp@0c1e57098bba43ac29e6e3b677cdceebdd22334f",
          "name": "llama.cpp",
          "version": "0.5.0",
          "licenses": [
            {
              "license": {
                "id": "MIT",
                "url": "licenses/llama.cpp/LICENSE"
              }
            }
          ],
          "purl": "pkg:github/ggml-org/llama.cpp@0c1e57098bba43ac29e6e3b677cdceebdd22334f",
          "pedigree": {
            "patches": [
              {
                "type": "unofficial",
                "diff": {
                  "url": "vendor/patches/0001-a.patch#sha256:36d65898ac88d593753dd8daccb2b42e725970f3f2e2259b9e69fdc2898a54b8"
                }
              }
            ]
          },
          "externalReferences": [
            {
              "type": "vcs",
              "url": "https://github.com/ggml-org/llama.cpp"
            }
          ],
          "properties": [
            {
              "name": "caravan:git-commit",
              "value": "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
            },
            {
              "name": "caravan:git-tree",
              "value": "b2da53584951ec8aa40680229509a6646a637560"
            },
            {
              "name": "caravan:build-type",
              "value": "portable"
            },
            {
              "name": "caravan:variants",
              "value": "x64,haswell"
            },
            {
              "name": "caravan:reproducible",
              "value": "true"
            },
            {
              "name": "caravan:glibc-floor",
              "value": "2.27"
            },
            {
              "name": "caravan:patch:0001-a.patch",
              "value": "sha256:36d65898ac88d593753dd8daccb2b42e725970f3f2e2259b9e69fdc2898a54b8"
            }
          ]
        }
      },
      "components": [
        {
          "type": "library",
          "bom-ref": "library:jsonhpp",
          "name": "jsonhpp",
          "licenses": [
            {
              "license": {
                "id": "MIT",
                "url": "licenses/llama.cpp/LICENSE-jsonhpp"
              }
            }
          ]
        },
        {
          "type": "library",
          "bom-ref": "library:odd",
          "name": "odd",
          "licenses": [
            {
              "license": {
                "name": "licenses/odd/NOTICE",
                "url": "licenses/odd/NOTICE"
              }
            }
          ]
        },
        {
          "type": "library",
          "bom-ref": "library:zig",
          "name": "zig",
          "licenses": [
            {
              "expression": "Apache-2.0 WITH LLVM-exception"
            }
          ]
        },
        {
          "type": "file",
          "bom-ref": "file:bin/llama-bench",
          "name": "bin/llama-bench",
          "hashes": [
            {
              "alg": "SHA-256",
              "content": "9ff463d040a229b34d2109e6a0948474d66f67ebb919f4f623d59fbe632e9b2d"
            }
          ]
        }
      ],
      "dependencies": [
        {
          "ref": "pkg:github/ggml-org/llama.cpp@0c1e57098bba43ac29e6e3b677cdceebdd22334f",
          "dependsOn": [
            "library:jsonhpp",
            "library:odd",
            "library:zig"
          ]
        },
        {
          "ref": "library:jsonhpp"
        },
        {
          "ref": "library:odd"
        },
        {
          "ref": "library:zig"
        }
      ],
      "formulation": [
        {
          "components": [
            {
              "type": "application",
              "bom-ref": "tool:compiler",
              "name": "zig 0.15.2 (clang 20.1.2)",
              "properties": [
                {
                  "name": "caravan:cmake-flag",
                  "value": "-DGGML_NATIVE=OFF"
                }
              ]
            },
            {
              "type": "application",
              "bom-ref": "tool:cmake",
              "name": "cmake",
              "version": "3.31.0"
            },
            {
              "type": "application",
              "bom-ref": "tool:ninja",
              "name": "ninja",
              "version": "1.12.1"
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn its_name_changes_with_its_content() {
    let tree = sealed();
    let before: Value = serde_json::from_str(&document(tree.path())).unwrap();
    write(tree.path(), "bin/llama-bench", b"other", 0o755);
    seal(tree.path(), info()).unwrap();
    let after: Value = serde_json::from_str(&document(tree.path())).unwrap();
    assert_ne!(before["serialNumber"], after["serialNumber"]);
}

#[test]
fn a_licence_of_nobody_is_refused() {
    let tree = sealed();
    write(tree.path(), "share/licenses/LICENSE", b"", 0o644);
    let error = seal(tree.path(), info()).unwrap_err();
    assert_eq!(error.code(), codes::GATE_FAILED);
    assert_snapshot!(error, @"licence `share/licenses/LICENSE` is refused: it does not lie in the directory of a component");
}
