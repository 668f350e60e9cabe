"""What the output says about how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_NAMESPACE = "urn:imagine-deblur:provenance:1"

# The standard library's escape() lives beside its network client: 8 MB for four characters.
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def comment(facts: Mapping[str, Any]) -> str:
    """Return the facts as a JPEG comment: ``imagine_deblur`` and one line of JSON."""
    return "imagine_deblur " + json.dumps(dict(facts), sort_keys=True, separators=(",", ":"))


def xmp(facts: Mapping[str, Any]) -> str:
    """Return the facts as the packet of an APP1 XMP segment."""
    tool = f"imagine_deblur {facts.get('version', '')}".strip().translate(_ENTITIES)
    properties = "".join(
        f"   <deblur:{name}>{_text(value).translate(_ENTITIES)}</deblur:{name}>\n"
        for name, value in sorted(facts.items())
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
