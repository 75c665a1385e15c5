"""Turns HTTP bodies into JSON values and back."""

from __future__ import annotations

import base64
import json
import re
import zlib
from email.message import Message
from typing import Any
from urllib.parse import urlencode

from chalicelib.domain.errors import TaskError
from chalicelib.engine.work_result import as_json
from chalicelib.workers.timed_socket import TooMuchData

Json = Any
_TEXT_TYPES = frozenset(
    {"application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/yaml"}
)
#: Charsets decoded as declared; the others hold transformations that are slow or no text, and are read as UTF-8.
_CHARSETS = re.compile(
    r"utf-?8|utf-16(le|be)?|(us-)?ascii|iso-8859-(1|2|15)|latin1|windows-125[0-2]|shift_jis|euc-(jp|kr)|gb(2312|k|18030)|"
    r"big5|koi8-r"
)


def encode_body(body: Json, content_type: str | None) -> tuple[bytes | None, str | None]:
    """The bytes to send and the Content-Type they need if the config gives none; (None, None) for no body.

    Text goes as it is, an object under `application/x-www-form-urlencoded` as a form, any other value as JSON.
    """
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    if isinstance(body, dict) and _media_type(content_type)[0] == "application/x-www-form-urlencoded":
        return encode_query(body).encode(), content_type
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"), "application/json"


def encode_query(values: dict[str, Json]) -> str:
    """`a=1&b=x&b=y`: lists repeat their name, nulls are left out, booleans are `true` and `false`."""
    pairs = []
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        pairs += [(name, scalar(item)) for item in items if item is not None]
    return urlencode(pairs, errors="replace")


def scalar(value: Json) -> str:
    """A JSON value as one text: strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def decode_body(body: bytes, content_type: str | None) -> Json:
    """A response body as JSON.

    A body declared as JSON is parsed; one that is none in spite of that is given as text, so that nothing the server
    said is lost. Text is text, no bytes are null (or "" for a text type), all else is `{"base64": ...}`.
    """
    media, charset = _media_type(content_type)
    is_text = media.startswith("text/") or media in _TEXT_TYPES or media.endswith("+xml")
    if media in {"application/json", "text/json"} or media.endswith("+json"):
        return _json_or_text(body, charset)
    if not body:
        return "" if is_text else None
    if is_text:
        return _text(body, charset)
    if not media:
        try:
            return body.decode()
        except UnicodeDecodeError:
            pass
    return {"base64": base64.b64encode(body).decode()}


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding of gzip or deflate; any other is left as it is.

    Raises TooMuchData when more than `max_bytes` come out, and zlib.error when the bytes are damaged.
    """
    name = encoding.strip().lower()
    if name not in {"gzip", "x-gzip", "deflate"} or not body:
        return body
    # Servers send "deflate" with and without the zlib wrapper.
    raw = name == "deflate" and (body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31 != 0)
    machine = zlib.decompressobj(-zlib.MAX_WBITS if raw else zlib.MAX_WBITS | 32)
    out = machine.decompress(body, max_bytes + 1)
    if len(out) > max_bytes:
        raise TooMuchData
    if not machine.eof:
        raise zlib.error("the compressed body ends too early")
    return out


def _json_or_text(body: bytes, charset: str) -> Json:
    if not body.strip():
        return None
    try:
        return as_json(json.loads(body))
    except (ValueError, RecursionError, TaskError):
        return _text(body, charset)


def _text(body: bytes, charset: str) -> str:
    return body.decode(charset if _CHARSETS.fullmatch(charset) else "utf-8", "replace")


def _media_type(content_type: str | None) -> tuple[str, str]:
    if not content_type:
        return "", "utf-8"
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    charset = message.get_param("charset", "utf-8")
    return message.get_content_type(), charset.lower() if isinstance(charset, str) else "utf-8"
