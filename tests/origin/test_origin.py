"""The origin's own tests: python3 -m unittest discover -s tests/origin"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import faults  # noqa: E402
import log  # noqa: E402
import mkrepo  # noqa: E402
from repos import Repo, Store  # noqa: E402
from running import Origin  # noqa: E402

MODEL = bytes(range(256)) * 1024
CONFIG = b'{"a": 1}\n'
SHA256 = hashlib.sha256(MODEL).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()


class Answer:
    """What one request gave; `cut` when the body ended early."""

    def __init__(self, url: str, method: str = "GET", body=None, **headers):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""),
                               body, {name.replace("_", "-"): value
                                      for name, value in headers.items()})
            response = connection.getresponse()
            self.status, self.headers, self.cut = response.status, response.headers, False
            try:
                self.body = response.read()
            except http.client.IncompleteRead as error:
                self.body, self.cut = error.partial, True
        finally:
            connection.close()

    def json(self):
        return json.loads(self.body)


class OriginTest(unittest.TestCase):
    """A root with some repos and web files, and an origin that serves it."""

    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="origin-test-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        store = Store(cls.root)
        entries = [mkrepo.add_bytes(store, CONFIG, "config.json"),
                   mkrepo.add_bytes(store, b"text", "sub/a b#+.txt"),
                   mkrepo.add_bytes(store, b"deep", "sub/deeper/c.txt"),
                   mkrepo.add_bytes(store, b"", "empty.txt"),
                   mkrepo.add_bytes(store, MODEL, "model.bin", lfs=True)]
        for name in ("public", "private", "gated", "disabled"):
            sha = mkrepo.make_commit(cls.root, "models", f"org/{name}", entries)
            cls.sha = sha if name == "public" else cls.sha
        for name, settings in (("private", {"private": True}), ("gated", {"gated": "auto"}),
                               ("disabled", {"disabled": True})):
            mkrepo.change_settings(cls.root, "models", f"org/{name}", ["hf_in"], **settings)
        with open(os.path.join(cls.root, "tokens"), "w", encoding="utf-8") as file:
            file.write("hf_out\n")
        mkrepo.make_commit(cls.root, "datasets", "org/many", mkrepo.add_many(store, 25))
        os.makedirs(os.path.join(cls.root, "web", "dir"))
        for name in ("file.bin", "dir/index.html", "file.bin?v=2"):
            with open(os.path.join(cls.root, "web", name), "wb") as file:
                file.write(MODEL if name == "file.bin" else name.encode())
        cls.origin = Origin(cls.root, "--page-size", "10")
        cls.addClassCleanup(cls.origin.stop)

    def setUp(self):
        self.addCleanup(faults.clear, self.root)
        log.clear(self.root)

    def hub(self, path: str, method: str = "GET", body=None, **headers) -> Answer:
        return Answer(self.origin.hub + path, method, body, **headers)

    def web(self, path: str, method: str = "GET", **headers) -> Answer:
        return Answer(self.origin.web + path, method, **headers)

    def location(self, path: str = "/org/public/resolve/main/model.bin") -> str:
        return self.hub(path, "HEAD").headers["Location"]


class HubTest(OriginTest):
    def test_info(self):
        info = self.hub("/api/models/org/public").json()
        self.assertEqual((info["sha"], info["id"], info["private"], info["gated"]),
                         (self.sha, "org/public", False, False))
        self.assertIn({"rfilename": "config.json"}, info["siblings"])
        lean = self.hub("/api/models/org/public/revision/main?expand=sha").json()
        self.assertEqual(sorted(lean), ["_id", "id", "sha"])
        self.assertEqual(self.hub("/api/models/org/public?expand=what").status, 400)
        self.assertEqual(self.hub("/api/models/org/public?expand=sha&blobs=true").status, 400)
        blobs = self.hub("/api/models/org/public?blobs=true").json()["siblings"]
        self.assertEqual(blobs[-1]["lfs"]["sha256"], SHA256)

    def test_revisions(self):
        store = Store(self.root)
        sha = mkrepo.make_commit(self.root, "models", "org/revisions", [], ref="refs/pr/1",
                                 tag="v1")
        for rev in ("refs%2Fpr%2F1", "v1", sha, sha[:8]):
            answer = self.hub(f"/api/models/org/revisions/revision/{rev}")
            self.assertEqual((answer.status, answer.json().get("sha")), (200, sha), rev)
        answer = self.hub("/api/models/org/revisions/revision/refs%252Fpr%252F1")
        self.assertEqual((answer.status, answer.json()["error"]),
                         (404, "Invalid rev id: refs%2Fpr%2F1"))
        refs = self.hub("/api/models/org/revisions/refs").json()
        self.assertNotIn("pullRequests", refs)
        self.assertEqual(refs["tags"][0]["targetCommit"], sha)
        refs = self.hub("/api/models/org/revisions/refs?include_prs=1").json()
        self.assertEqual(refs["pullRequests"][0]["ref"], "refs/pr/1")

        moved = mkrepo.make_commit(self.root, "models", "org/revisions", [], ref="refs/pr/1")
        info = self.hub("/api/models/org/revisions/revision/refs%2Fpr%2F1").json()
        self.assertEqual(info["sha"], moved)
        commits = self.hub("/api/models/org/revisions/commits/refs%2Fpr%2F1?limit=1")
        self.assertEqual(commits.headers["X-Total-Count"], "2")
        self.assertIn("p=1", commits.headers["Link"])
        shutil.rmtree(Repo(store, "models", "org/revisions").folder)
        self.assertEqual(self.hub("/api/models/org/revisions").status, 401)

    def test_paging(self):
        url = "/api/datasets/org/many/tree/main?recursive=true&expand=false"
        paths = []
        for pages in range(1, 9):
            answer = self.hub(url)
            paths += [entry["path"] for entry in answer.json()]
            link = answer.headers["Link"]
            if not link:
                break
            whole = re.fullmatch('<(.*)>; rel="next"', link).group(1)
            self.assertTrue(whole.startswith(self.origin.hub))
            url = whole[len(self.origin.hub):]
        self.assertEqual((pages, len(paths), len(set(paths))), (3, 26, 26))
        self.assertIn("part-0", paths)
        folder = "/api/datasets/org/many/tree/main/part-0"
        self.assertEqual(self.hub(folder + "?cursor=%21").status, 400)
        self.assertEqual(len(self.hub(folder + "?limit=4").json()), 4)

    def test_tree(self):
        base = "/api/models/org/public/tree/main"

        def paths(rest):
            return [entry["path"] for entry in self.hub(base + rest).json()]
        self.assertEqual(paths("?recursive=false"),
                         ["config.json", "empty.txt", "model.bin", "sub"])
        self.assertEqual(paths("/sub?recursive=true"),
                         ["sub/a b#+.txt", "sub/deeper", "sub/deeper/c.txt"])
        self.assertEqual(paths("/sub%2Fdeeper"), ["sub/deeper/c.txt"])
        self.assertEqual(self.hub(base + "/none").headers["X-Error-Code"], "EntryNotFound")
        entry = self.hub(base).json()[2]
        self.assertEqual(entry["lfs"], {"oid": SHA256, "size": len(MODEL), "pointerSize": 131})
        self.assertNotIn("xetHash", entry)
        form = self.hub("/api/models/org/public/paths-info/main", "POST",
                        "paths=sub&paths=none&paths=config.json&expand=False")
        self.assertEqual([entry["type"] for entry in form.json()], ["directory", "file"])
        as_json = self.hub("/api/models/org/public/paths-info/main", "POST",
                           json.dumps({"paths": ["config.json"], "expand": True}),
                           Content_Type="application/json")
        self.assertEqual(as_json.json()[0]["lastCommit"]["id"], self.sha)

    def test_git_file(self):
        first = self.hub("/org/public/resolve/main/config.json")
        self.assertEqual((first.status, first.headers["X-Linked-ETag"],
                          first.headers["X-Repo-Commit"]), (307, f'"{GIT_SHA1}"', self.sha))
        where = first.headers["Location"]
        self.assertTrue(where.startswith(
            f"/api/resolve-cache/models/org/public/{self.sha}/config.json?"))
        self.assertNotEqual(int(first.headers["Content-Length"]), len(CONFIG))
        second = self.hub(where)
        self.assertEqual((second.status, second.body, second.headers["ETag"]),
                         (200, CONFIG, f'"{GIT_SHA1}"'))
        self.assertEqual(self.hub(where, Range="bytes=2-3").body, CONFIG[2:4])
        packed = self.hub(where, Accept_Encoding="gzip")
        self.assertEqual(gzip.decompress(packed.body), CONFIG)
        self.assertEqual((packed.headers["Content-Length"], packed.headers["ETag"]),
                         (None, f'W/"{GIT_SHA1}"'))
        self.assertEqual(self.hub(self.location(
            "/org/public/resolve/main/sub/a%20b%23%2B.txt")).body, b"text")

    def test_lfs_file(self):
        first = self.hub("/org/public/resolve/main/model.bin", Range="bytes=0-9")
        self.assertEqual((first.status, first.headers["X-Linked-ETag"],
                          first.headers["X-Linked-Size"]),
                         (302, f'"{SHA256}"', str(len(MODEL))))
        where = first.headers["Location"]
        self.assertTrue(where.startswith(self.origin.cdn))
        whole = Answer(where)
        self.assertEqual((whole.status, whole.body), (200, MODEL))
        self.assertRegex(whole.headers["ETag"], '^"[0-9a-f]{64}"$')
        self.assertNotIn(SHA256, whole.headers["ETag"])
        for asked, start, end in (("10-19", 10, 20), ("100-", 100, len(MODEL)),
                                  ("-7", len(MODEL) - 7, len(MODEL))):
            part = Answer(where, Range=f"bytes={asked}")
            self.assertEqual((part.status, part.body, part.headers["Content-Range"]),
                             (206, MODEL[start:end], f"bytes {start}-{end - 1}/{len(MODEL)}"))
        beyond = Answer(where, Range=f"bytes={len(MODEL)}-")
        self.assertEqual((beyond.status, beyond.headers["Content-Range"]),
                         (416, f"bytes */{len(MODEL)}"))
        self.assertEqual(Answer(where, Authorization="Bearer hf_in").status, 400)
        self.assertEqual(Answer(where[:-1] + ("0" if where[-1] != "0" else "1")).status, 403)
        self.assertEqual(Answer(self.origin.cdn + "/" + SHA256).status, 403)
        again = self.hub("/org/public/resolve/main/model.bin", If_None_Match=f'"{SHA256}"')
        self.assertEqual(again.status, 304)

    def test_expired_url_and_git_direct(self):
        with Origin(self.root, "--signed-ttl", "0.3", "--git-direct") as other:
            where = Answer(other.hub + "/org/public/resolve/main/model.bin").headers["Location"]
            time.sleep(0.4)
            self.assertEqual(Answer(where).status, 403)
            direct = Answer(other.hub + "/org/public/resolve/main/config.json")
            self.assertEqual((direct.status, direct.body), (200, CONFIG))
        with Origin(self.root, "--cdn-url", "http://127.0.0.3:9/objects/") as other:
            where = Answer(other.hub + "/org/public/resolve/main/model.bin").headers["Location"]
            self.assertTrue(where.startswith(f"http://127.0.0.3:9/objects/{SHA256}?"))

    def test_errors(self):
        wrong, anonymous = ("Invalid credentials in Authorization header",
                            "Invalid username or password.")
        table = [
            ("public/resolve/main/none", None, 404, "EntryNotFound", "Entry not found"),
            ("public/resolve/none/config.json", None, 404, "RevisionNotFound",
             "Invalid rev id: none"),
            ("absent/resolve/main/f", None, 401, "RepoNotFound", anonymous),
            ("absent/resolve/main/f", "hf_out", 404, "RepoNotFound", "Repository not found"),
            ("private/resolve/main/config.json", None, 401, "RepoNotFound", anonymous),
            ("private/resolve/main/config.json", "hf_out", 404, "RepoNotFound", None),
            ("private/resolve/main/config.json", "hf_in", 307, None, None),
            ("public/resolve/main/config.json", "hf_junk", 401, None, wrong),
            ("gated/resolve/main/config.json", None, 401, "GatedRepo", None),
            ("gated/resolve/main/config.json", "hf_junk", 401, "GatedRepo", None),
            ("gated/resolve/main/config.json", "hf_out", 403, "GatedRepo", None),
            ("gated/resolve/main/config.json", "hf_in", 307, None, None),
            ("disabled/resolve/main/config.json", None, 401, "RepoNotFound", anonymous),
            ("disabled/resolve/main/config.json", "hf_in", 403, None,
             "Access to this resource is disabled."),
        ]
        for path, token, status, code, message in table:
            with self.subTest(path=path, token=token):
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                answer = self.hub("/org/" + path, **headers)
                self.assertEqual((answer.status, answer.headers["X-Error-Code"]), (status, code))
                if message:
                    self.assertEqual(answer.headers["X-Error-Message"], message)
                self.assertIn("r=", answer.headers["RateLimit"])
        absent = self.hub("/org/public/resolve/main/none")
        self.assertEqual(absent.headers["X-Repo-Commit"], self.sha)
        self.assertEqual(self.hub("/api/models/org/gated").json()["gated"], "auto")
        self.assertEqual(self.hub("/api/models/org/gated/auth-check").status, 401)
        self.assertEqual(self.hub("/api/models/org/private").json(), {"error": anonymous})
        self.assertEqual(self.hub("/api/agent-harnesses").status, 404)
        self.assertEqual(self.hub("/api/models/org/public/xet-read-token/main").status, 404)
        self.assertEqual(self.hub("/api/whoami-v2").status, 401)
        self.assertEqual(self.hub("/api/whoami-v2", Authorization="Bearer hf_out").status, 200)

    def test_rename(self):
        mkrepo.rename(self.root, "models", "gpt2", "org/public")
        for old in ("gpt2", "GPT2", "Org/Public"):
            for path in ("/api/models/%s/tree/main?recursive=true", "/api/models/%s",
                         "/%s/resolve/main/config.json?x=1"):
                answer = self.hub(path % old)
                self.assertEqual((answer.status, answer.headers["Location"]),
                                 (307, path % "org/public"))
                self.assertIsNone(answer.headers["X-Repo-Commit"])

    def test_lists(self):
        seen = self.hub("/api/models?author=org&limit=1")
        self.assertEqual(len(seen.json()), 1)
        self.assertIn('rel="next"', seen.headers["Link"])
        names = {row["id"] for row in self.hub("/api/models?author=org").json()}
        self.assertNotIn("org/private", names)
        self.assertEqual(self.hub("/api/organizations/org/overview").status, 200)
        self.assertEqual(self.hub("/api/users/nobody/overview").status, 404)

    def test_gzip(self):
        answer = self.hub("/api/models/org/public", Accept_Encoding="gzip, deflate")
        self.assertEqual(answer.headers["Content-Encoding"], "gzip")
        self.assertTrue(answer.headers["ETag"].startswith('W/"'))
        self.assertEqual(json.loads(gzip.decompress(answer.body))["sha"], self.sha)


class WebTest(OriginTest):
    def test_files(self):
        whole = self.web("/file.bin")
        etag, date = whole.headers["ETag"], whole.headers["Last-Modified"]
        self.assertEqual((whole.status, whole.body), (200, MODEL))
        head = self.web("/file.bin", "HEAD")
        self.assertEqual((head.headers["Content-Length"], head.body), (str(len(MODEL)), b""))
        self.assertEqual(self.web("/file.bin", If_None_Match=etag).status, 304)
        self.assertEqual(self.web("/file.bin", If_None_Match='"other"').status, 200)
        self.assertEqual(self.web("/file.bin", If_Modified_Since=date).status, 304)
        for condition, status in ((etag, 206), (date, 206), ('"other"', 200)):
            part = self.web("/file.bin", Range="bytes=5-6", If_Range=condition)
            self.assertEqual(part.status, status)
        self.assertEqual(self.web("/file.bin", Range="bytes=1-2,4-5").status, 200)
        self.assertEqual(self.web("/file.bin?v=1").body, MODEL)
        self.assertEqual(self.web("/file.bin?v=2").body, b"file.bin?v=2")
        self.assertEqual(self.web("/dir").headers["Location"], "/dir/")
        self.assertEqual(self.web("/dir/").headers["Content-Type"], "text/html")
        self.assertEqual(self.web("/none").status, 404)
        self.assertEqual(self.web("/../tokens").status, 400)

    def test_specials(self):
        chunked = self.web("/_/chunked/file.bin")
        self.assertEqual((chunked.headers["Content-Length"], chunked.body), (None, MODEL))
        self.assertEqual(gzip.decompress(self.web("/_/gzip/file.bin").body), MODEL)
        self.assertEqual(self.web("/_/norange/file.bin", Range="bytes=1-2").status, 200)
        self.assertIsNone(self.web("/_/plain/file.bin").headers["ETag"])
        self.assertEqual(self.web("/_/nohead/file.bin", "HEAD").status, 405)
        self.assertEqual(self.web("/_/nohead/file.bin").status, 200)
        self.assertEqual(self.web("/_/status/410").status, 410)
        hop = self.web("/_/redirect/307/2/file.bin")
        self.assertEqual((hop.status, hop.headers["Location"]),
                         (307, "/_/redirect/307/1/file.bin"))
        self.assertEqual(self.web(hop.headers["Location"]).headers["Location"], "/file.bin")
        self.assertEqual(Answer(self.web("/_/away/file.bin").headers["Location"]).body, MODEL)
        self.assertIn('"x.zip"', self.web("/_/named/x.zip/file.bin")
                      .headers["Content-Disposition"])
        self.assertEqual(self.web("/_/auth/t0/file.bin").status, 401)
        self.assertEqual(self.web("/_/auth/t0/file.bin?token=t0").status, 200)
        self.assertEqual(self.web("/_/auth/t0/file.bin", Authorization="Bearer t0").status, 200)

    def test_many_connections(self):
        connections = [http.client.HTTPConnection(self.origin.web[len("http://"):], timeout=10)
                       for _ in range(80)]
        for _ in range(2):
            for connection in connections:
                connection.request("GET", "/file.bin")
            for connection in connections:
                self.assertEqual(connection.getresponse().read(), MODEL)
        for connection in connections:
            connection.close()


class FaultTest(OriginTest):
    def fault(self, **entry):
        faults.set_faults(self.root, [entry])

    def test_status_and_times(self):
        self.fault(server="web", match="^GET /file", times=2, status=503, body="busy",
                   headers={"Retry-After": "1"})
        self.assertEqual(self.web("/dir/").status, 200)
        first = self.web("/file.bin")
        self.assertEqual((first.status, first.body, first.headers["Retry-After"]),
                         (503, b"busy", "1"))
        self.assertEqual([self.web("/file.bin").status for _ in range(2)], [503, 200])
        self.fault(redirect="http://127.0.0.1:1/")
        self.assertEqual(self.web("/file.bin").headers["Location"], "http://127.0.0.1:1/")

    def test_cut(self):
        self.fault(truncate_at=100000)
        answer = self.web("/file.bin")
        self.assertEqual((answer.headers["Content-Length"], answer.body, answer.cut),
                         (str(len(MODEL)), MODEL[:100000], True))
        self.assertTrue(self.web("/_/chunked/file.bin").cut)
        self.fault(close=True)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.web("/file.bin")

    def test_wrong_bytes(self):
        self.fault(wrong_range=64)
        part = self.web("/file.bin", Range="bytes=1000-1009")
        self.assertEqual((part.status, part.body, part.headers["Content-Range"]),
                         (206, MODEL[1064:1074], f"bytes 1064-1073/{len(MODEL)}"))
        self.fault(ignore_range=True)
        self.assertEqual(self.web("/file.bin", Range="bytes=1000-1009").status, 200)
        self.fault(flip_at=1002)
        part = self.web("/file.bin", Range="bytes=1000-1009").body
        self.assertEqual([at for at in range(10) if part[at] != MODEL[1000 + at]], [2])
        self.assertEqual(self.web("/file.bin", Range="bytes=0-9").body, MODEL[:10])
        self.assertEqual(self.web("/file.bin").body[1002], MODEL[1002] ^ 0xff)

    def test_wrong_length(self):
        self.fault(length_delta=10)
        longer = self.web("/file.bin")
        self.assertEqual((longer.headers["Content-Length"], longer.cut),
                         (str(len(MODEL) + 10), True))
        part = self.web("/file.bin", Range="bytes=0-9")
        self.assertEqual(part.headers["Content-Range"], f"bytes 0-9/{len(MODEL) + 10}")
        head = self.hub("/org/public/resolve/main/model.bin", "HEAD")
        self.assertEqual(head.headers["X-Linked-Size"], str(len(MODEL) + 10))
        self.fault(length_delta=-10)
        self.assertEqual(self.web("/file.bin").body, MODEL[:-10])
        self.fault(drop_header=["Content-Length", "etag"])
        bare = self.web("/file.bin")
        self.assertEqual((bare.headers["Content-Length"], bare.headers["ETag"], bare.body),
                         (None, None, MODEL))

    def test_stalls(self):
        self.fault(stall_headers=0.2)
        begin = time.monotonic()
        self.assertEqual(self.web("/dir/").status, 200)
        self.assertGreater(time.monotonic() - begin, 0.2)
        self.fault(stall_body_at=5000, stall=-1)
        connection = http.client.HTTPConnection(self.origin.web[len("http://"):], timeout=10)
        connection.request("GET", "/file.bin")
        response = connection.getresponse()
        self.assertEqual(response.read(5000), MODEL[:5000])
        self.assertTrue(log.wait(self.root, 1, 5, path="file.bin"))
        self.assertEqual(log.count(self.root, settle=0.1, path="file.bin"), 0)
        response.close()
        connection.close()
        [record] = log.select(self.root, path="file.bin")
        self.assertEqual((record["sent"], record["done"], record["status"]), (5000, False, 200))

    def test_release(self):
        self.fault(stall_headers=-1)
        found = []
        thread = threading.Thread(target=lambda: found.append(self.web("/dir/").status))
        thread.start()
        self.assertTrue(log.wait(self.root, 1, 5, path="dir"))
        release = os.path.join(self.root, "release")
        open(release, "w", encoding="utf-8").close()
        self.addCleanup(os.unlink, release)
        thread.join(5)
        self.assertEqual(found, [200])

    def test_stop_during_stall(self):
        self.fault(stall_body_at=10, stall=-1)
        with Origin(self.root) as other:
            connection = http.client.HTTPConnection(other.web[len("http://"):], timeout=10)
            connection.request("GET", "/file.bin?stop")
            connection.getresponse().read(10)
            begin = time.monotonic()
            self.assertEqual(other.stop(), 0)
            self.assertLess(time.monotonic() - begin, 2)
            connection.close()
        # The request of the test before may be logged after its answer has arrived.
        records = log.select(self.root, path="stop")
        self.assertEqual([record["done"] for record in records], [False])


class CommandTest(OriginTest):
    def run_tool(self, tool: str, *args: str) -> str:
        return subprocess.run([sys.executable, os.path.join(HERE, tool), "--root", self.root,
                               *args], check=True, stdout=subprocess.PIPE, text=True).stdout

    def test_commands(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, size in (("a.json", 5), ("b.bin", 5), ("big.bin", 3 << 20)):
                with open(os.path.join(folder, name), "wb") as file:
                    file.truncate(size)
            sha = self.run_tool("mkrepo.py", "model", "org/made", "--from", folder, "--xet",
                                "--lfs-pattern", "*.bin", "--tag", "v1", "--gated", "manual",
                                "--token", "hf_in").strip()
        self.assertRegex(sha, "^[0-9a-f]{40}$")
        tree = self.hub("/api/models/org/made/tree/v1").json()
        self.assertEqual(["xetHash" in entry for entry in tree], [False, True, True])
        many = self.run_tool("mkrepo.py", "model", "org/made", "--many", "3", "--branch", "b/c")
        self.assertEqual(self.hub("/api/models/org/made/revision/b%2Fc").json()["sha"],
                         many.strip())
        self.assertEqual(self.hub("/api/models/org/made").json()["gated"], "manual")
        self.run_tool("mkrepo.py", "rename", "model", "org/made", "org/moved")
        self.assertEqual(self.hub("/api/models/org/made").status, 307)
        self.run_tool("faults.py", "set", '{"status": 500, "match": "GET /dir/"}')
        self.assertEqual(self.web("/dir/").status, 500)
        self.run_tool("faults.py", "clear")
        self.assertEqual(self.web("/dir/").status, 200)
        self.run_tool("log.py", "wait", "--path", "/dir/", "--count", "2", "--timeout", "1")
        self.assertEqual(self.run_tool("log.py", "count", "--server", "web"), "2\n")
        self.assertEqual(self.run_tool("log.py", "bytes", "--server", "web"), "14\n")


class LogTest(OriginTest):
    def test_log(self):
        self.web("/file.bin", Range="bytes=0-99", User_Agent="mlcachefs/1")
        self.hub("/api/models/org/public", Authorization="Bearer hf_in", User_Agent="other")
        self.assertEqual(log.count(self.root), 2)
        self.assertEqual(log.count(self.root, not_ua="^mlcachefs"), 1)
        self.assertEqual(log.sent_bytes(self.root, server="web", method="GET"), 100)
        [record] = log.select(self.root, path=r"^/file\.bin$")
        self.assertEqual((record["range"], record["auth"], record["length"], record["done"]),
                         ("bytes=0-99", None, 100, True))
        [record] = log.select(self.root, server="hub")
        self.assertEqual((record["auth"], record["status"]), ("Bearer hf_in", 200))
        self.assertFalse(log.wait(self.root, 3, 0.05))


if __name__ == "__main__":
    unittest.main()
