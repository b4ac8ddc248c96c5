"""Validates objects against the schemas of several versions of the Kubernetes API.

Reads {"versions": [..], "objects": [..]} from the file that is named; writes a list of what was found:
{"version", "object" (its number), "path", "message"}, or {"version", "object", "missing": true} where there is no schema.
"""

import json
import sys

import kubernetes_validate

with open(sys.argv[1], encoding="utf-8") as file:
    wanted = json.load(file)
found = []
for version in wanted["versions"]:
    for number, thing in enumerate(wanted["objects"]):
        place = {"version": version, "object": number}
        try:
            used = kubernetes_validate.validate(thing, version, strict=True)
            # It falls back to an older version by itself.
            assert used == version, f"schemas of {used} instead of {version}"
        except kubernetes_validate.SchemaNotFoundError:
            found.append({**place, "missing": True})
        except kubernetes_validate.ValidationError as error:
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
            found.append({**place, "path": path.lstrip("."), "message": error.message})
json.dump(found, sys.stdout)
