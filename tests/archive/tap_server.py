"""A small TAP server in a thread: asynchronous jobs over one table, and every fault that real servers have shown.

It understands the two statements that spfast makes: source_ids in a list, and 2MASS names in an uploaded table.
"""

import email
import email.policy
import io
import re
import threading
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from astropy.io import votable
from astropy.table import MaskedColumn, Table

#: A job as UWS describes it.
_JOB = """<?xml version="1.0"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">
<uws:jobId>{number}</uws:jobId><uws:phase>{phase}</uws:phase>
<uws:executionDuration>7200</uws:executionDuration><uws:destruction>2030-01-01T00:00:00.000Z</uws:destruction>
<uws:results><uws:result id="result" xlink:href="{url}/results/result"/></uws:results>{error}</uws:job>"""
_ERROR = '<uws:errorSummary type="fatal" hasDetail="true"><uws:message>{}</uws:message></uws:errorSummary>'


class TapServer(ThreadingHTTPServer):
    """
    Attributes
    ----------
    table : astropy Table
        ``tmass_id``, ``source_id`` and columns that are asked for; others are answered without values.
    faults : list of (str, ...)
        What goes wrong next; each happens once, at its place: ("create", code, text), ("poll", code, text),
        ("result", code, text), ("drop", place), ("job", text), ("slow", polls), ("lost",), ("half",).
    limit, tells : int or None, bool
        Rows of an answer at most, and whether it says that it was cut.
    slower_than : int or None
        Jobs for more stars end by a time-out.
    edit : callable or None
        What it makes of the table of each answer.
    n_jobs, deleted : int, list
    queries : list of str
    """

    daemon_threads = True

    def __init__(self, table):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.table, self.faults, self.limit, self.tells, self.slower_than = table, [], None, True, None
        self.edit = None
        self.n_jobs, self.deleted, self.queries, self.jobs = 0, [], [], {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/tap"

    def next_fault(self, *kinds):
        if self.faults and self.faults[0][0] in kinds:
            return self.faults.pop(0)
        return None

    def handle_error(self, request, client_address):
        pass  # connections that the test drops


@contextmanager
def serving(table):
    """Run a server of one table while the block runs."""
    server = TapServer(table)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def _send(self, code, text="", headers=(), kind="text/plain"):
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(code)
        for name, value in (("Content-Type", kind), ("Content-Length", len(body)), *headers):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def _misbehaves(self, place):
        fault = self.server.next_fault(place)
        if fault is not None:
            self._send(fault[1], f"<html><body><h1>Error</h1><p>{fault[2]}</p></body></html>", kind="text/html")
            return True
        if self.server.faults and self.server.faults[0] == ("drop", place):
            self.server.faults.pop(0)
            self.close_connection = True
            self.connection.close()
            return True
        return False

    def do_POST(self):
        fields, files = _form(self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        path = urllib.parse.urlparse(self.path).path
        if path == "/tap/async":
            if self._misbehaves("create"):
                return
            server = self.server
            server.n_jobs += 1
            server.queries.append(fields["QUERY"])
            names, stars = _asked(fields["QUERY"], files)
            server.jobs[server.n_jobs] = {
                "stars": stars,
                "by": names,
                "query": fields["QUERY"],
                "polls": 0,
                "run": False,
            }
            self._send(303, headers=[("Location", f"{server.url}/async/{server.n_jobs}")])
        elif path.count("/") == 3:  # an order for no job
            self._send(200, "<html><body>a list of jobs</body></html>", kind="text/html")
        else:
            job = self.server.jobs[int(path.split("/")[3])]
            if fields.get("PHASE") == "RUN" and not self.server.next_fault("lost"):
                job["run"] = True
            self._send(303, headers=[("Location", f"{self.server.url}/async/{path.split('/')[3]}")])

    def do_DELETE(self):
        self.server.deleted.append(int(self.path.split("/")[3]))
        self._send(303, headers=[("Location", f"{self.server.url}/async")])

    def do_GET(self):
        parts = urllib.parse.urlparse(self.path).path.split("/")
        number = int(parts[3]) if len(parts) > 3 else 0
        if len(parts) == 3:
            self._send(200, "<html><body>a list of jobs</body></html>", kind="text/html")
        elif number not in self.server.jobs:
            self._send(404, "no such job")
        elif len(parts) == 4:
            if not self._misbehaves("poll"):
                self._send(200, self._job(number), kind="text/xml")
        elif not self._misbehaves("result"):
            answer = _answer(self.server, self.server.jobs[number])
            if self.server.next_fault("half"):
                answer = answer[: len(answer) // 2]
            self._send(200, answer, kind="application/x-votable+xml")

    def _job(self, number):
        server, job = self.server, self.server.jobs[number]
        if not job["run"]:
            phase = "PENDING"
        else:
            if "slow" not in job:
                fault = server.next_fault("slow")
                job["slow"] = fault[1] if fault else 0
            job["polls"] += 1
            phase = "EXECUTING" if job["polls"] <= job["slow"] else "COMPLETED"
            if phase == "COMPLETED" and "text" not in job:
                fault = server.next_fault("job")
                job["text"] = fault[1] if fault else ""
                if server.slower_than is not None and len(job["stars"]) > server.slower_than:
                    job["text"] = "The query timed out after 60 s"
            phase = "ERROR" if job.get("text") else phase
        error = _ERROR.format(job["text"]) if job.get("text") else ""
        return _JOB.format(number=number, phase=phase, url=f"{server.url}/async/{number}", error=error)


def _form(headers, body):
    """The fields (dict of str) and the uploaded files (list of bytes) of a form."""
    if "multipart" not in headers.get("Content-Type", ""):
        return {name: values[-1] for name, values in urllib.parse.parse_qs(body.decode()).items()}, []
    text = b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    fields, files = {}, []
    for part in email.message_from_bytes(text, policy=email.policy.HTTP).iter_parts():
        content = part.get_payload(decode=True)
        if part.get_filename():
            files.append(content)
        else:
            fields[part.get_param("name", header="content-disposition")] = content.decode()
    return fields, files


def _asked(query, files):
    if files:
        table = votable.parse_single_table(io.BytesIO(files[0])).to_table()
        return "tmass_id", [str(name) for name in table["tmass_id"]]
    return "source_id", [int(number) for number in re.search(r"IN \(([\d, ]+)\)", query)[1].split(",")]


def _answer(server, job):
    names = [name.split(".")[1] for name in re.match(r"SELECT (.*?) FROM", job["query"])[1].split(", ")]
    rows = server.table[np.isin(np.asarray(server.table[job["by"]]), job["stars"])]
    cut = server.limit is not None and len(rows) > server.limit
    rows = rows[: server.limit] if cut else rows
    table = Table()
    for name in names:
        if name in rows.colnames:
            table[name] = rows[name]
        else:
            table[name] = MaskedColumn(np.zeros(len(rows), "f4"), mask=np.ones(len(rows), bool))
    document = votable.from_table(table if server.edit is None else server.edit(table))
    status = "OVERFLOW" if cut and server.tells else "OK"
    resource = document.resources[0]
    resource.type = "results"
    resource.infos.append(votable.tree.Info(name="QUERY_STATUS", value=status))
    out = io.BytesIO()
    document.to_xml(out, tabledata_format="tabledata")
    return out.getvalue()
