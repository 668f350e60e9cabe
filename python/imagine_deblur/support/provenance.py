"""What the output says about how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_NAMESPACE = "urn:imagine-deblur:provenance:1"

# The standard library's escape() lives beside its network client: 8 MB for four characters.
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


_LONGEST_VALUE = 6000  # characters of a fact; escaped they are up to six times as many


def _short(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts that fit into a segment of a JPEG file."""
    return {name: _brief(value) for name, value in facts.items()}


def _brief(value: Any) -> Any:
    if len(_text(value)) <= _LONGEST_VALUE:
        return value
    short = _without_long_lists(value)
    if len(_text(short)) <= _LONGEST_VALUE:
        return short
    return {"sha256": _sha256(value)}


def _without_long_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_long_lists(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        plain = not any(isinstance(v, Mapping) for v in value)
        if plain and len(_text(value)) > _LONGEST_VALUE // 8:
            first = value[0] if value else None
            inner = [len(first)] if isinstance(first, list | tuple) else []
            return {"shape": [len(value), *inner], "sha256": _sha256(value)}
        return [_without_long_lists(v) for v in value]
    return value


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def comment(facts: Mapping[str, Any]) -> str:
    """Return the facts as a JPEG comment: ``imagine_deblur`` and one line of JSON.

    A long list, such as the samples of a kernel, becomes its shape and the SHA-256 of its compact
    JSON, since a segment holds 65,533 bytes; the report has the whole.
    """
    return "imagine_deblur " + json.dumps(_short(facts), sort_keys=True, separators=(",", ":"))


def xmp(facts: Mapping[str, Any]) -> str:
    """Return the facts as the packet of an APP1 XMP segment; long ones as in `comment`."""
    tool = f"imagine_deblur {facts.get('version', '')}".strip().translate(_ENTITIES)
    properties = "".join(
        f"   <deblur:{name}>{_text(value).translate(_ENTITIES)}</deblur:{name}>\n"
        for name, value in sorted(_short(facts).items())
    )
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'
        f'    xmlns:deblur="{_NAMESPACE}" xmp:CreatorTool="{tool}">\n'
        f"{properties}"
        "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
