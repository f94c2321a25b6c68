#!/usr/bin/env bash
# The Python client does not find a file that the JavaScript hub client has cached.
#
# Expected behaviour: @huggingface/hub and huggingface_hub share one cache layout
#   (models--me--tiny/blobs, refs, snapshots/COMMIT), so a folder that one of them has filled serves the
#   other offline.
# Actual behaviour: downloadFileToCacheDir puts each file under the commit that last changed that file,
#   not under the commit of the revision, and writes no refs/main. The files of one revision are spread
#   over several snapshot folders. The Python client finds none of them by branch, and by the revision's
#   commit only those that this commit changed. snapshotDownload of the same package behaves like Python.
# Versions: @huggingface/hub 2.17.5, Node.js 20, huggingface_hub 2.4.0 (tested on 2026-11-29 with Python
#   3.11), with a server on 127.0.0.1. Requires node and npm.
# Why it matters: a web front end and a Python service that share a volume appear to share the cache
#   too. Offline, the service fails although du shows the weights.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" @huggingface/hub@2.17.5 >/dev/null

cat > fetch.mjs <<'JS'
import { downloadFileToCacheDir, snapshotDownload } from "@huggingface/hub";

console.debug = () => {};
const [hubUrl, cacheDir, how] = process.argv.slice(2);
const shared = { repo: "me/tiny", hubUrl, cacheDir };
if (how === "snapshot") {
	await snapshotDownload(shared);
} else {
	for (const path of ["config.json", "vocab.txt"]) {
		await downloadFileToCacheDir({ ...shared, path });
	}
}
JS

cat > try.py <<'PY'
import hashlib
import http.server
import json
import os
import re
import subprocess
import threading

HEAD, OLDER = "a" * 40, "b" * 40
FILES = {"config.json": (b'{"model_type": "bert"}', HEAD), "vocab.txt": (b"[PAD]\n[UNK]\n", OLDER)}

class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def entry(self, name):
        body, commit = FILES[name]
        last = {"id": commit, "title": "t", "date": "2026-01-01T00:00:00.000Z"}
        return {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest(), "lastCommit": last}

    def reply(self, body, status=200, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        paths = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        self.reply(json.dumps([self.entry(p) for p in paths]).encode(), Content_Type="application/json")

    def do_GET(self):
        path = self.path.split("?")[0]
        if "/resolve/" in path:
            body = FILES[path.rsplit("/", 1)[1]][0]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(asked[1]) if asked else 0
            last = min(int(asked[2] or len(body)), len(body) - 1) if asked else len(body) - 1
            self.reply(body[first:last + 1], 206 if asked else 200, ETag=f'"{hashlib.sha1(body).hexdigest()}"',
                       X_Repo_Commit=HEAD, Content_Range=f"bytes {first}-{last}/{len(body)}")
        elif "/tree/" in path:
            self.reply(json.dumps([self.entry(n) for n in FILES]).encode(), Content_Type="application/json")
        else:
            info = {"_id": "1", "id": "me/tiny", "modelId": "me/tiny", "sha": HEAD, "private": False, "gated": False,
                    "downloads": 0, "likes": 0, "lastModified": "2026-01-01T00:00:00.000Z"}
            self.reply(json.dumps(info).encode(), Content_Type="application/json")

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

def python_finds(cache):
    found = {}
    for revision in ("main", HEAD):
        for name in FILES:
            try:
                hf_hub_download("me/tiny", name, revision=revision, cache_dir=cache, local_files_only=True)
                found[revision[:4], name] = True
            except LocalEntryNotFoundError:
                found[revision[:4], name] = False
    return found

for how in ("file", "snapshot"):
    subprocess.run(["node", "fetch.mjs", url, f"cache-{how}", how], check=True)
    repository = f"cache-{how}/models--me--tiny"
    snapshots = {s[:4]: sorted(os.listdir(f"{repository}/snapshots/{s}")) for s in sorted(os.listdir(f"{repository}/snapshots"))}
    found = python_finds(f"cache-{how}")
    print(f"JavaScript, by {how}: snapshots {snapshots}, refs {os.path.exists(repository + '/refs')}; Python finds {found}")
    if how == "file":
        assert snapshots == {"aaaa": ["config.json"], "bbbb": ["vocab.txt"]}, snapshots
        assert not os.path.exists(repository + "/refs")
        # By commit, Python finds only the file that this commit happened to change; by branch, it finds nothing.
        assert [k for k, there in found.items() if there] == [("aaaa", "config.json")], found
    else:  # Control: the other call of the same client fills the cache as Python expects.
        assert snapshots == {"aaaa": ["config.json", "vocab.txt"]} and all(found.values()), (snapshots, found)
PY
env -u HF_HUB_OFFLINE -u HF_TOKEN -u HF_ENDPOINT HF_HOME="$work/home" "$work/venv/bin/python" try.py
