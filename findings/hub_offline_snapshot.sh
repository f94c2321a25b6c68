#!/usr/bin/env bash
# Offline, huggingface_hub 2 refuses or returns a snapshot without weights, depending on how it was filled.
#
# Expected behaviour: according to version 1, snapshot_download(local_files_only=True) returns whatever
#   the cache contains. According to the release notes of version 2, it raises IncompleteSnapshotError
#   if a file is missing.
# Actual behaviour: version 2 can detect this only after an online snapshot_download of the same commit
#   has left the list of files in the cache. If the files were fetched one by one by hf_hub_download, it
#   returns the folder without the weights, even if allow_patterns asks only for weights. After one
#   online call for the small files alone, the same offline call raises.
# Versions: huggingface_hub 2.4.0 (tested on 2026-11-29 with Python 3.11), with a server on 127.0.0.1.
# Why it matters: "the call passed, so the model is there" is true in an image that was warmed with
#   snapshot_download, but not in one that was warmed by loading tokenizer and config.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0

cat > "$work/try.py" <<'PY'
import hashlib
import http.server
import json
import os
import threading

COMMIT = "a" * 40
FILES = {"config.json": b'{"model_type": "bert"}', "vocab.txt": b"[PAD]\n", "model.safetensors": b"x" * 64}

class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self):
        path = self.path.split("?")[0]
        oids = {name: hashlib.sha1(body).hexdigest() for name, body in FILES.items()}
        headers, status, body = {"X-Repo-Commit": COMMIT}, 200, b"[]"
        if "/resolve/" in path:
            name = path.rsplit("/", 1)[1]
            body = FILES.get(name, b"")
            status = 200 if name in FILES else 404
            headers |= {"ETag": f'"{oids[name]}"'} if name in FILES else {"X-Error-Code": "EntryNotFound"}
        elif "/tree/" in path:
            body = json.dumps([{"type": "file", "path": n, "size": len(b), "oid": oids[n]} for n, b in FILES.items()]).encode()
        elif path.startswith("/api/models/"):
            body = json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": [{"rfilename": n} for n in FILES]}).encode()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD = answer

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_DISABLE_PROGRESS_BARS="1",
                  HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")

from huggingface_hub import hf_hub_download, snapshot_download

def offline(**options):
    try:
        return sorted(os.listdir(snapshot_download("me/tiny", local_files_only=True, **options)))
    except Exception as error:
        return type(error).__name__

def show(when, expected):
    found = offline(), offline(allow_patterns="*.safetensors")
    print(f"{when}: offline {found[0]}, offline for weights only {found[1]}")
    assert found == expected, (found, expected)

small = ["config.json", "vocab.txt"]
for name in small:
    hf_hub_download("me/tiny", name)
show("two files fetched one by one", (small, small))
snapshot_download("me/tiny", allow_patterns=["*.json", "*.txt"])  # Fetches the list, and no new file.
show("after an online snapshot of the same two", ("IncompleteSnapshotError",) * 2)
snapshot_download("me/tiny")
whole = sorted(FILES)
show("after an online snapshot of all", (whole, whole))  # Control.
PY
cd "$work"
env -u HF_HUB_OFFLINE -u HF_HUB_CACHE -u HF_TOKEN HF_HOME="$work/home" "$work/venv/bin/python" try.py
