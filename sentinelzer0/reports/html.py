"""Markup that is escaped by construction: text becomes `Markup` only through `el`, and `el` escapes everything.

There is no way to write a raw string into a page: no ``raw()``, no event attributes, no inline ``style``, no
``<script>``, no link scheme that runs code, and no element that loads anything. The one style sheet enters through
`stylesheet`, which refuses anything that could close its element.

>>> str(el("td", "<b>&", class_="num", data_name='"x"'))
'<td class="num" data-name="&quot;x&quot;">&lt;b&gt;&amp;</td>'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from sentinelzer0.errors import InvalidInputError

_TAG = re.compile(r"[a-zA-Z][a-zA-Z0-9]*\Z")
_ATTRIBUTE = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*\Z")
_FORBIDDEN_TAGS = frozenset({"script", "style", "iframe", "object", "embed", "base", "img", "image", "use"})
_VOID_TAGS = frozenset({"meta", "br", "hr", "col"})
_SAFE_LINK = re.compile(r"(?:https?://|#|\./|\.\./|/(?!/)|data:text/csv[;,])[^\s\\]*\Z")
_NAMESPACES = {"svg": "http://www.w3.org/2000/svg"}

# Characters that vanish or turn the reading direction can make one name look like another, so they are spelled out.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is already safe HTML. Only this module makes one."""

    html: str

    def __str__(self) -> str:
        return self.html


Child: TypeAlias = "Markup | str | int | float | Iterable[Child] | None"
Attribute: TypeAlias = str | int | float | bool | None


def escape(text: str) -> str:
    """Escape text for element content and quoted attributes alike; invisible characters are spelled out."""
    return _INVISIBLE.sub(_spell, text).translate(_ENTITIES)


def el(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """Build one element.

    Args:
        tag: The element's name.
        children: Text (escaped), markup, numbers, None (nothing) or iterables of these.
        attributes: ``class_`` is ``class``, ``aria_label`` is ``aria-label``; None and False leave the attribute out,
            True writes it without a value.

    Raises:
        InvalidInputError: For a tag or attribute that could run code or load something.
    """
    if not _TAG.match(tag) or tag.lower() in _FORBIDDEN_TAGS:
        raise InvalidInputError(f"The element {tag!r} is not allowed in a report.")
    opening = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID_TAGS:
        return Markup(f"<{tag}{opening}>")
    return Markup(f"<{tag}{opening}>{_content(children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Put children side by side without an element around them."""
    return Markup(_content(children))


def stylesheet(css: str) -> Markup:
    """Wrap the package's own style sheet.

    Raises:
        InvalidInputError: When the sheet could end its element or load something.
    """
    if "<" in css or "@import" in css or "url(" in css:
        raise InvalidInputError("A report's style sheet must neither hold '<' nor load anything.")
    return Markup(f"<style>{css}</style>")


def page(language: str, head: Markup, body: Markup, *, class_: str) -> Markup:
    """Assemble a whole HTML document; ``class_`` is the body's."""
    return Markup(f"<!doctype html>\n{el('html', el('head', head), el('body', body, class_=class_), lang=language)}\n")


def coordinate(value: float) -> str:
    """Write an SVG coordinate with one decimal, without trailing zeros."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def _content(children: Iterable[Child]) -> str:
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child.html)
        elif isinstance(child, str):
            parts.append(escape(child))
        elif isinstance(child, int | float):
            parts.append(escape(str(child)))
        else:
            parts.append(_content(child))
    return "".join(parts)


@lru_cache(maxsize=256)
def _attribute_name(name: str) -> str:
    written = name.rstrip("_").replace("_", "-")
    lower = written.lower()
    if not _ATTRIBUTE.match(written) or lower.startswith("on") or lower in {"style", "src", "srcdoc"}:
        raise InvalidInputError(f"The attribute {written!r} is not allowed in a report.")
    return written


def _attribute(name: str, value: Attribute) -> str:
    written = _attribute_name(name)
    if value is None or value is False:
        return ""
    if value is True:
        return f" {written}"
    text = coordinate(value) if isinstance(value, float) else str(value)
    if written.lower() == "href" and not _SAFE_LINK.match(text):
        raise InvalidInputError(
            f"The link {text!r} is not allowed in a report.", hint="Use http(s), a relative path or #fragment."
        )
    return f' {written}="{escape(text)}"'


def _spell(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
