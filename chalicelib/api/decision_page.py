"""The pages that a decision link shows in a browser: the question, what came of it, and why it was refused.

They are whole in themselves: no script, nothing loaded from elsewhere, and every text from outside is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any, Final

from chalicelib.api.problems import Answer
from chalicelib.engine.credentials import LinkClaims
from chalicelib.engine.decision_links import Question

Json = Any
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:38rem;margin:4rem auto;padding:0 1rem;color:#1f2328}"
    "h1{font-size:1.25rem}small{color:#59636e}label{display:block;margin-top:1rem}"
    "p.m{white-space:pre-wrap;overflow-wrap:anywhere;padding-left:1rem;border-left:3px solid #d0d7de}"
    "textarea{width:100%;box-sizing:border-box;font:inherit}pre{overflow:auto;background:#f6f8fa;padding:.5rem}"
    "button{margin-top:1rem;padding:.5rem 1.5rem;font:inherit;font-weight:600;border:0;border-radius:6px;color:#fff}"
    "button.yes{background:#1a7f37}button.no{background:#cf222e}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Forms may go to this address only, and nobody may frame the page.
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}


def question_page(link: LinkClaims, asked: Question) -> Answer:
    """The question, and one button that decides as the link says."""
    verb = "Approve" if link.approved else "Reject"
    about = f"{asked.workflow or 'A workflow'}, step {asked.node_id}, run {asked.run_id}"
    more = "" if asked.quorum == 1 else f" {asked.approvals} of {asked.quorum} needed approvals are there."
    data = _data_field(asked.form) if link.approved and asked.form is not None else ""
    body = (
        f"<h1>{verb}?</h1><p class=m>{escape(asked.message)}</p>"
        f"<p><small>{escape(about)}. You decide as {escape(link.sub)}.{more}</small></p>"
        f"<form method=post>{data}<label>Comment<textarea name=comment rows=3 maxlength=4096></textarea></label>"
        f"<button type=submit class={'yes' if link.approved else 'no'}>{verb}</button></form>"
    )
    return _page(f"{verb}?", body)


def decided_page(link: LinkClaims, answer: dict[str, Json]) -> Answer:
    """What the decision came to."""
    verb = "approved" if link.approved else "rejected"
    more = "The run goes on." if answer["decided"] else "Others have to decide as well before the run goes on."
    return _page("Thank you", f"<h1>Thank you</h1><p>You have {verb}. {more}</p>")


def problem_page(refusal: Answer) -> Answer:
    """A refusal as a page, under its own status."""
    problem = refusal.body
    found = "".join(f"<li>{escape(one['path'])} {escape(one['message'])}</li>" for one in problem["errors"])
    listed = f"<ul>{found}</ul>" if found else ""
    body = f"<h1>{escape(problem['title'])}</h1><p>{escape(problem['detail'])}</p>{listed}"
    page = _page(problem["title"], body)
    return Answer(None, refusal.status, {**refusal.headers, **page.headers}, page.page)


def _data_field(form: Json) -> str:
    schema = escape(json.dumps(form, indent=2, ensure_ascii=False))
    return (
        f"<label>Data, as JSON that fits this schema<pre>{schema}</pre>"
        "<textarea name=data rows=5 spellcheck=false></textarea></label>"
    )


def _page(title: str, body: str) -> Answer:
    head = f'<meta charset=utf-8><meta name=viewport content="width=device-width"><title>{escape(title)}</title>'
    page = f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"
    return Answer(headers=dict(HEADERS), page=page)
