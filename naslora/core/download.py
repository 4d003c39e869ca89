"""Downloads that resume after broken connections and yield a verified file or none.

The bytes go to a hidden file beside the target, `.NAME.partial`; `.NAME.partial.json` notes the
address, the validator and the size of the whole file. A broken download leaves both, and the next
one continues it by a range request (RFC 9110, sections 13.1.5 and 14), as long as the server still
has the same file. Only a complete file with the expected size and hash gets the target's name.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

from naslora.core import files
from naslora.core.errors import NasloraError
from naslora.core.locking import exclusive

_CHUNK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)$")
_PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")

_Show = Callable[[int, int | None], None]


def looks_like_html(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith(_PAGE_STARTS)


def is_connection_failure(error: NasloraError) -> bool:
    """Whether a download ended with this error because connections to the server kept failing."""
    return isinstance(error.__cause__, _BrokenError)


@dataclass(kw_only=True)
class Download:
    """A file to download, and how; calling `run` does it.

    Attributes:
        url: an http or https address.
        target: the path of the file.
        error: the exception to raise if the file cannot be obtained.
        by_hand: how to get the file by hand, for the error messages.
        size: expected size in bytes; None if unknown.
        sha256: expected hash, or its first digits; None if unknown.
        check: called with the path of the complete file; raises a NasloraError to reject it.
        attempts: consecutive attempts without a new byte after which to give up.
        pause: seconds before the second attempt; doubled for each later one.
        timeout: seconds without an answer after which a connection counts as broken.
    """

    url: str
    target: Path
    error: type[NasloraError]
    by_hand: str
    size: int | None = None
    sha256: str | None = None
    check: Callable[[Path], object] | None = None
    attempts: int = 4
    pause: float = 2.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        self._partial = self.target.with_name(f".{self.target.name}.partial")
        self._note = self._partial.with_name(f"{self._partial.name}.json")

    def run(self) -> None:
        """Download the file, continuing an earlier attempt if there is one.

        If several processes do this at once, one downloads and the others wait for the file.

        Raises:
            error: no such address, connections that keep breaking, or not the expected file.
            DiskError: the folder cannot be written to, or the disk is full.
        """
        with files.disk_errors(self.target):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(self._partial), self._partial.open("ab") as partial:
                try:
                    if not self.target.exists():
                        self._obtain(partial)
                finally:
                    if not _size(partial):
                        self._partial.unlink(missing_ok=True)
                        self._note.unlink(missing_ok=True)

    def _obtain(self, partial: BinaryIO) -> None:
        with _progress(self.target.name) as show:
            self._persist(partial, show)
        try:
            if self.sha256:
                digest = files.sha256(self._partial)
                if not digest.startswith(self.sha256):
                    raise self._other(f"its SHA-256 is {digest}, not {self.sha256}")
            if self.check:
                self.check(self._partial)
        except NasloraError:
            partial.truncate(0)
            raise
        os.fsync(partial.fileno())
        self._partial.replace(self.target)
        self._note.unlink(missing_ok=True)

    def _persist(self, partial: BinaryIO, show: _Show) -> None:
        """Retry until the file is complete."""
        most, failures = _size(partial), 0
        while True:
            try:
                return self._attempt(partial, show)
            except _BrokenError as broken:
                # A server that ignores ranges starts over each time: only new bytes are progress.
                failures = 1 if _size(partial) > most else failures + 1
                most = max(most, _size(partial))
                if failures >= self.attempts:
                    remedy = "check the network and run the same command again to continue"
                    raise self._failure(str(broken), remedy) from broken
                wait = max(self.pause * 2 ** (failures - 1), min(broken.retry_after, 120))
                print(f"{self.target.name}: {broken}; next try in {wait:.0f} s", file=sys.stderr)
            time.sleep(wait)

    def _attempt(self, partial: BinaryIO, show: _Show) -> None:
        """Send one request and write the response."""
        note = self._read_note()
        done = _size(partial) if note else 0
        headers = {"User-Agent": "naslora"}
        if done:
            if self.sha256 and done == note["total"]:
                return
            headers["Range"] = f"bytes={done}-"
            if note["validator"]:
                headers["If-Range"] = note["validator"]
        with self._open(headers) as response:
            if done and response.status in (206, 416) and not _continues(response, done, note):
                self._note.unlink()
                return self._attempt(partial, show)
            self._receive(response, partial, show, note if done and response.status == 206 else {})

    def _receive(self, response: Any, partial: BinaryIO, show: _Show, note: dict[str, Any]) -> None:
        """Append the response to the file, or replace the file with it if there is no note."""
        done = _size(partial) if note else 0
        length = response.headers.get("Content-Length", "")
        announced = done + int(length) if length.isdecimal() else None
        total = note.get("total", self.size if announced is None else announced)
        chunk = self._read(response, announced, done, total)
        if chunk and not note:
            # The partial file is kept until the response is known not to be a sign-in page.
            if looks_like_html(chunk):
                raise self._failure(
                    "the server answered with a web page, not with the file",
                    "a proxy or login page may be in the way: open the address in a browser",
                )
            if self.size not in (None, total):
                raise self._other(f"it has {total} bytes, not {self.size}")
            partial.truncate(0)
            note = {"url": self.url, "validator": _validator(response), "total": total}
            files.write_json(self._note, note)
        show(done, total)
        while chunk:
            partial.write(chunk)
            partial.flush()
            done += len(chunk)
            show(done, total)
            if total is not None and done > total:
                partial.truncate(0)
                raise self._other(f"it has more than {total} bytes")
            chunk = self._read(response, announced, done, total)
        if total and done < total:
            raise _broken_off(done, total)
        if not done:
            raise _BrokenError("the answer is empty")

    def _read(self, response: Any, announced: int | None, done: int, total: int | None) -> Any:
        wanted = _CHUNK if announced is None else min(_CHUNK, announced - done)
        try:
            return response.read1(wanted)  # read() would lose what arrived before an error
        except (OSError, http.client.HTTPException) as error:
            raise _broken_off(done, total, error) from error

    def _open(self, headers: dict[str, str]) -> Any:
        """Send the request; a response of status 416 (no such range) is returned, not raised."""
        try:
            if urlsplit(self.url).scheme not in ("http", "https"):
                raise ValueError("only http and https addresses can be downloaded")
            request = urllib.request.Request(self.url, headers=headers)
            opener = urllib.request.build_opener(_NoFtp, _StaysEncrypted)
            return opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416 and "Range" in headers:
                return error
            error.close()
            if error.code >= 500 or error.code in (408, 429):
                after = error.headers.get("Retry-After", "")
                raise _BrokenError(str(error), int(after) if after.isdecimal() else 0) from error
            raise self._failure(str(error), "see whether the address has changed") from error
        except (ValueError, http.client.InvalidURL) as error:
            raise self._failure(str(error), "correct the address") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise self._failure(
                    f"the server's certificate is not trusted: {reason}",
                    "check the machine's clock, its certificates (SSL_CERT_FILE) and its proxy",
                ) from error
            raise _BrokenError(str(reason) or type(reason).__name__) from error

    def _read_note(self) -> dict[str, Any]:
        """The note about the partial file; empty if the download cannot be continued."""
        try:
            note = json.loads(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        known = isinstance(note, dict) and note.keys() == {"url", "validator", "total"}
        # Without a validator, only the hash can tell that the parts belong together.
        fits = known and note["url"] == self.url and (note["validator"] or self.sha256)
        return note if fits and note["total"] else {}

    def _failure(self, what: str, remedy: str) -> NasloraError:
        what = f"cannot download {self.url}: {what}"
        return self.error(what, where=self.target, remedy=f"{remedy}; or {self.by_hand}")

    def _other(self, difference: str) -> NasloraError:
        return self._failure(
            f"the file there is not the official {self.target.name}: {difference}",
            "run the same command again, and do not use that file unchecked",
        )


class _NoFtp(urllib.request.FTPHandler):
    def ftp_open(self, req: urllib.request.Request) -> NoReturn:
        raise ValueError("it leads to an ftp address")


class _StaysEncrypted(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from https to http, which a third party could answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise ValueError(f"it leads from https to an address without it: {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _BrokenError(Exception):
    """A failure that may be temporary."""

    def __init__(self, reason: str, retry_after: int = 0):
        super().__init__(reason)
        self.retry_after = retry_after


def _broken_off(done: int, total: int | None, error: Exception | None = None) -> _BrokenError:
    size = f"{done} of {total}" if total else str(done)
    reason = f": {error}" if error else ""
    return _BrokenError(f"the connection broke off after {size} bytes{reason}")


def _validator(response: Any) -> str | None:
    """The value for If-Range: a strong ETag or a date."""
    tag: str | None = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _continues(response: Any, done: int, note: dict[str, Any]) -> bool:
    """Whether a partial response continues the partial file."""
    place = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if not place or int(place[1]) != done:
        return False
    same_size = place[2] in ("*", str(note["total"]))
    return same_size and _validator(response) in (None, note["validator"])


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


@contextmanager
def _progress(name: str) -> Iterator[_Show]:
    """A bar on a terminal; elsewhere a line per tenth (per 100 MB if the size is unknown)."""
    if sys.stderr.isatty():
        from rich import progress as rich
        from rich.console import Console

        moving = (rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
        columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *moving)
        with rich.Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    began, start, last = time.monotonic(), -1, -1

    def show(done: int, total: int | None) -> None:
        nonlocal began, start, last
        if start < 0 or done < start:
            began, start = time.monotonic(), done
        step = done * 10 // total if total else done // 100_000_000
        if step == last:
            return
        last = step
        rate = (done - start) / max(time.monotonic() - began, 1e-3)
        of = f"{done * 100 // total} % of {total / 1e6:.1f}" if total else f"{done / 1e6:.1f}"
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        print(f"{name}: {of} MB, {rate / 1e6:.1f} MB/s{left}", file=sys.stderr)

    yield show
