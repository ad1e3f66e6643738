"""Names: what may identify a model, a version, a tag, a person or an environment.

This module decides which text is acceptable as a name. It performs no I/O. The laws:

- Identifiers (models, versions, environments) are ASCII, so look-alikes and NFC/NFD twins cannot exist, and
  they are safe as one path component on every file system.
- Two identifiers that differ only in case are the same to :func:`fold`, because some file systems think so.
- Tags and people's names may be in any one script; they are kept in NFC, and text that only looks like other
  text (compatibility forms, mixed Latin/Cyrillic/Greek, blanks in a row) is refused.
- Free text (notes, reasons) keeps its lines, but no NUL and no unpaired surrogate, which no database keeps.
- What needs a person is never done by the system on its own, nor under a name that stands for it.

>>> check_identifier("v1.2.0-rc1", "version")
'v1.2.0-rc1'
>>> subject_of_version("default", "v1")
'version:default/v1'
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from sentinelzer0.domain.scalars import plain
from sentinelzer0.errors import ApproverNotAllowedError, InvalidInputError, InvalidNameError

DEFAULT_MODEL = "default"
PRODUCTION = "production"

MAX_IDENTIFIER = 128
MAX_LABEL = 200
MAX_TEXT = 100_000

_AUTOMATIC = frozenset({"system", "automatic", "automation"})
_IDENTIFIER = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?")
_CONFUSABLE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and how we know.

    Attributes:
        name: The person or service.
        auth: ``asserted`` when an embedded caller only says who they are; a server sets how it knows.
    """

    name: str
    auth: str = "asserted"


def check_identifier(value: object, what: str) -> str:
    """Return ``value`` when it may name a model, a version or an environment.

    Args:
        value: The candidate.
        what: What it names, for the message.

    Raises:
        InvalidNameError: Not text, empty, too long, or with a character that is not allowed.
    """
    if not isinstance(value, str):
        raise InvalidNameError(f"A {what} name must be text, not {type(value).__name__}.")
    value = plain(value)
    if len(value) > MAX_IDENTIFIER:
        raise InvalidNameError(
            f"The {what} name {value[:24]!r}… has {len(value)} characters.",
            hint=f"Use at most {MAX_IDENTIFIER}.",
        )
    if not _IDENTIFIER.fullmatch(value) or ".." in value:
        raise InvalidNameError(
            f"{value!r} cannot be a {what} name.",
            hint="Use ASCII letters, digits, '_', '-', '+' and single dots between them; not starting with '-', '+' or '.'.",
        )
    return value


def check_label(value: object, what: str) -> str:
    """Return ``value`` in NFC when it may be a tag or the name of a person.

    Raises:
        InvalidNameError: Empty, too long, with control characters, path separators or look-alike characters.
    """
    if not isinstance(value, str):
        raise InvalidNameError(f"A {what} must be text, not {type(value).__name__}.")
    value = plain(value)
    if value.isascii() and value.isalnum() and len(value) <= MAX_LABEL:
        return value
    text = unicodedata.normalize("NFC", value)
    if not text.strip() or text != text.strip() or len(text) > MAX_LABEL:
        raise InvalidNameError(
            f"{value[:24]!r} cannot be a {what}.",
            hint=f"Use 1 to {MAX_LABEL} characters, without blanks at either end.",
        )
    bad = next((c for c in text if unicodedata.category(c)[0] == "C" or c in "/\\\u2028\u2029"), None)
    if bad is not None or ".." in text:
        raise InvalidNameError(
            f"{value[:60]!r} cannot be a {what}: it contains {bad or '..'!r}.",
            hint="Leave out control characters, line breaks, path separators and '..'.",
        )
    alike = unicodedata.normalize("NFKC", text) != text or text != " ".join(text.split())
    if alike or _mixes_scripts(text):
        raise InvalidNameError(
            f"{value[:60]!r} cannot be a {what}: it contains characters that only look like others.",
            hint="Write it in the plain letters of one script, with single blanks.",
        )
    return text


def check_text(value: object, what: str, *, required: bool = False) -> str:
    """Return free text such as a note or a reason.

    Raises:
        InvalidInputError: Not text, too long, required but blank, or with NUL or unpaired surrogates.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"The {what} must be text, not {type(value).__name__}.")
    value = plain(value)
    if required and not value.strip():
        raise InvalidInputError(f"The {what} is empty.", hint=f"Say why: the {what} stays on record.")
    if len(value) > MAX_TEXT:
        raise InvalidInputError(f"The {what} has {len(value)} characters.", hint=f"Use at most {MAX_TEXT}.")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise InvalidInputError(f"The {what} contains a NUL or an unpaired surrogate.", hint="Remove it.")
    return value


def is_person(actor: Actor) -> bool:
    """Return whether a person acts, not the system on its own.

    >>> is_person(Actor("alice")), is_person(Actor("system"))
    (True, False)
    """
    return actor.auth != "internal" and actor.name.casefold() not in _AUTOMATIC


def check_person(actor: Actor, what: str) -> None:
    """Accept only a person.

    Raises:
        ApproverNotAllowedError: Automation acts.
    """
    if not is_person(actor):
        raise ApproverNotAllowedError(f"{actor.name} may not {what}.", hint="A person must do it, by name.")


def check_actor(actor: str | Actor) -> Actor:
    """Return an :class:`Actor`; text means an embedded caller who asserts a name."""
    if isinstance(actor, Actor):
        return actor
    return Actor(check_label(actor, "person's name"))


def check_tags(tags: object) -> tuple[str, ...]:
    """Return tags in NFC, without repetition, in the order given (a set has none: sorted).

    Raises:
        InvalidNameError: Not a list of acceptable tags.
    """
    if tags is None:
        return ()
    if isinstance(tags, str) or not isinstance(tags, list | tuple | set | frozenset):
        raise InvalidNameError(f"tags must be a list of words, not {type(tags).__name__}.", hint='Write tags=["a"].')
    checked = dict.fromkeys(check_label(tag, "tag") for tag in tags)
    return tuple(sorted(checked) if isinstance(tags, set | frozenset) else checked)


def is_name(value: object) -> bool:
    """Return whether ``value`` could name anything that is stored: text without NUL and unpaired surrogates.

    Looser than :func:`check_identifier`: it guards a search, where what cannot exist is simply not found.
    """
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def fold(identifier: str) -> str:
    """Return the form under which two identifiers count as the same name."""
    return identifier.casefold()


def subject_of_version(model: str, version: str) -> str:
    """Return how the audit log refers to a version."""
    return f"version:{model}/{version}"


def subject_of_test(test_id: str) -> str:
    """Return how the audit log refers to an A/B test."""
    return f"ab_test:{test_id}"


def _mixes_scripts(text: str) -> bool:
    if text.isascii():
        return False
    scripts = {unicodedata.name(c, "?").split(" ", 1)[0] for c in text if c.isalpha()}
    return len(scripts & _CONFUSABLE_SCRIPTS) > 1
