#!/usr/bin/env bash
# "pip install ebrec" succeeds, but there is no ebrec to import.
#
# Expected behaviour: EB-NeRD's code (loaders for its parquet files, metrics, models) imports `ebrec`,
#   and a package of that name can be installed, so the package contains that code.
# Actual behaviour: the package contains one empty module, named `package_name`: it was made from a
#   template. `import ebrec` fails, and the metrics of EB-NeRD's benchmark have to be taken from its
#   repository.
# Versions: ebrec 0.0.1, the only version (tested on 2026-11-29 with Python 3.11).
# Why it matters: a requirements.txt with `ebrec` installs without any message. That the metrics are
#   missing becomes apparent only when the evaluation starts, after the training.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps ebrec==0.0.1

cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import importlib.util
import pathlib

installed = importlib.metadata.distribution("ebrec")
modules = {str(f): pathlib.Path(installed.locate_file(f)).stat().st_size for f in installed.files if f.suffix == ".py"}
print("installed:", installed.version, "modules and bytes:", modules)
found = importlib.util.find_spec("ebrec")
print("import ebrec:", found)
assert installed.version == "0.0.1"  # Control: pip has installed it.
assert importlib.util.find_spec("package_name") is not None
assert found is None and modules == {"package_name/__init__.py": 0}, (found, modules)
PY
