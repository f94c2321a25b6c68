"""Writes hub_settings.json: how huggingface_hub interprets environment variables. Each case runs in its own process.

    pip install huggingface_hub==2.4.0
    python crates/nb-checkpoint/tests/golden/hub_settings.py

In the file, `me` and `/users/me` replace the name and the home folder of the user who runs the script. No token files
exist at the paths in the cases.
"""

import itertools
import json
import os
import pathlib
import pwd
import subprocess
import sys

PRINT = """
import json
from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers
try:
    sent = build_hf_headers().get("authorization")
except OSError:  # the token's path is a folder, such as the empty path
    sent = None
print(json.dumps({
    "cache": constants.HF_HUB_CACHE,
    "endpoint": constants.ENDPOINT,
    "offline": constants.HF_HUB_OFFLINE,
    "token": sent and sent.removeprefix("Bearer "),
    "token_path": constants.HF_TOKEN_PATH,
}))
"""

ME = pwd.getpwuid(os.getuid())
HOME = {"HOME": "/nowhere"}
PATHS = [
    "/x",
    "/x/",
    "relative",
    "~",
    "~/y",
    f"~{ME.pw_name}/y",
    "~nobody-of-this-name/y",
    "/x/~",
    "/$V/y",
    "/${V}/y",
    "/$V-$W/${V}${W}",
    "/$UNSET/${UNSET}/$",
    "/${V/y",
    "/$Vé/${}",
    "~/$TILDE",
    "$NESTED",
    "",
]
VARIABLES = {"V": "v", "W": "w w", "TILDE": "~", "NESTED": "/$V"}
SWITCH = ["1", "0", "on", "ON", "yes", "True", "true", "y", "", "2", " 1"]

cases = [{}, HOME, {"HOME": "/nowhere/"}, {"HOME": "/"}, {"HOME": ""}]
for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_TOKEN_PATH"]:
    cases += [HOME | VARIABLES | {name: path} for path in PATHS]
cases.append(VARIABLES | {"HF_HOME": "~/y"})
# Precedence if several are set.
several = {"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}
for names in itertools.chain(itertools.combinations(several, 2), itertools.combinations(several, 3), [several]):
    cases.append(HOME | {name: several[name] for name in names})
cases += [HOME | {"HF_HUB_OFFLINE": value} for value in SWITCH]
cases += [HOME | {"TRANSFORMERS_OFFLINE": value} for value in SWITCH]
cases += [HOME | {"HF_HUB_OFFLINE": a, "TRANSFORMERS_OFFLINE": b} for a in ["1", "0", ""] for b in ["1", "0"]]
cases += [HOME | {"HF_TOKEN": "hf_a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": value} for value in SWITCH]
for token in ["hf_a", "  hf_a\n", "hf_\na", "", " ", "\n"]:
    cases += [HOME | {"HF_TOKEN": token}, HOME | {"HF_TOKEN": token, "HUGGING_FACE_HUB_TOKEN": "hf_b"}]
cases.append(HOME | {"HUGGING_FACE_HUB_TOKEN": " hf_b "})
for endpoint in ["http://127.0.0.1:9", "http://127.0.0.1:9/", "https://hub.example/sub//"]:
    cases.append(HOME | {"HF_ENDPOINT": endpoint})

out = []
for environment in cases:
    done = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True)
    case = json.dumps({"environment": environment} | json.loads(done.stdout), ensure_ascii=False)
    out.append(case.replace(f"~{ME.pw_name}", "~me").replace(ME.pw_dir, "/users/me"))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(out) + "\n]\n", encoding="utf-8")
print(len(out), "cases")
