"""Which family a chat template belongs to: by trial, never by its looks alone.

A form of calls is used only if the template writes a call and its result in that form and the form's own reader
reads it back. If none is, tools are told in words, and a line of the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agentkit.engine.dialects import Vocabulary
from agentkit.engine.dialects.chat import Chat
from agentkit.engine.dialects.chat_families import FAMILIES, Family
from agentkit.engine.dialects.chat_template import ChatTemplate
from agentkit.errors import ModelError

__all__ = ["chat_dialect"]

_KEY = "tokenizer.chat_template"
_log = logging.getLogger("agentkit.dialects")
_log.addHandler(logging.NullHandler())  # nothing is printed unless logging is configured so


def chat_dialect(vocabulary: Vocabulary, wanted: str | None = None) -> Chat:
    """Return the chat dialect of the model's file, or the one `wanted`.

    Raises:
        ModelError: no family goes by that name; or the file has no chat template, or one that cannot be used.
    """
    if wanted is not None and wanted not in FAMILIES:
        known = ", ".join(["plain", *FAMILIES])
        raise ModelError(f"engine.dialect: '{wanted}' is not known; one of {known}, or none to read it from the model")
    templates = _templates(vocabulary)
    if wanted is not None:
        return _named(vocabulary, FAMILIES[wanted], templates)
    faults = []
    for family, template in _marked(templates):
        chat = Chat(vocabulary, family, template)
        if not (fault := chat.fault()):
            return chat
        faults.append(f"{family.name}: {fault}")
    return _told(vocabulary, templates[-1], faults)


def _templates(vocabulary: Vocabulary) -> list[ChatTemplate]:
    """Return the file's templates, one made for tools first."""
    keys = (f"{_KEY}.tool_use", _KEY)
    sources = [vocabulary.metadata[key] for key in keys if vocabulary.metadata.get(key)]
    if not sources:
        raise ModelError("the model file has no chat template: it is no chat model, or a poor conversion; use another")
    bos, eos = (
        vocabulary.pieces[token].decode("utf-8", "replace") if token >= 0 else ""
        for token in (vocabulary.bos_id, vocabulary.turn_end_id)
    )
    return [ChatTemplate(source, bos=bos, eos=eos) for source in sources]


def _marked(templates: Sequence[ChatTemplate]) -> list[tuple[Family, ChatTemplate]]:
    """Return the forms that the templates may have."""
    forms = [form for forms in FAMILIES.values() for form in forms if not form.is_told]
    return [(form, template) for template in templates for form in forms if form.mark in template.source]


def _named(vocabulary: Vocabulary, forms: Sequence[Family], templates: Sequence[ChatTemplate]) -> Chat:
    """Return the first form without a fault; else the first, since whoever named it may know better."""
    fitting = templates[-1:] if forms[0].is_told else templates
    chats = [Chat(vocabulary, form, template) for template in fitting for form in forms]
    faults = []
    for chat in chats:
        if not (fault := chat.fault()):
            return chat
        faults.append(fault)
    _log.warning("engine.dialect is '%s', but the model's chat template differs: %s", chats[0].name, faults[0])
    return chats[0]


def _told(vocabulary: Vocabulary, template: ChatTemplate, faults: Sequence[str]) -> Chat:
    """Return the dialect that needs nothing but turns of words."""
    form = next(form for name in ("gemma", "chatml") for form in FAMILIES[name] if form.mark in template.source)
    chat = Chat(vocabulary, form, template)
    if fault := chat.fault():
        raise ModelError(f"the model's chat template cannot be used ({fault}); fetch another conversion of the model")
    if faults or "tool" in template.source:
        why = "; ".join(faults) or "it writes calls in a form that is not known"
        _log.warning("chat template: tools are told in words (%s), since %s", form.name, why)
    else:
        _log.info("chat template: it has no place for tools, which are told in words (%s)", form.name)
    return chat
