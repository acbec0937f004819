"""How an answer may repeat a value that was sent: its spelling, and its place in the answer."""

from __future__ import annotations

import base64
import html
import json
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, quote_plus

__all__ = ["PLACES", "SPELLINGS"]

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as sent": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "form": quote_plus,
    "every byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace")),
    "HTML": html.escape,
    "HTML, numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON twice": lambda text: json.dumps(json.dumps(text)),
    "escapes": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "hexadecimal": lambda text: text.encode("utf-8", "replace").hex(),
    "base64": lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode(),
    "base64 of a URL": lambda text: base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode().rstrip("="),
    "repr": repr,
    "backwards": lambda text: text[::-1],
    "casefolded": str.casefold,
    "upper": str.upper,
    "title": str.title,
    "NFKD": lambda text: unicodedata.normalize("NFKD", text),
    "NFKC": lambda text: unicodedata.normalize("NFKC", text),
    "tabs": lambda text: "\t".join(text.split(" ")),
    "blanks taken out": lambda text: "".join(text.split()),
    "blanks doubled": lambda text: text.replace(" ", "  "),
    "begun": lambda text: text[: len(text) * 2 // 3],
    "ended": lambda text: text[len(text) // 3 :],
    "cut in the middle": lambda text: f"{text[: len(text) // 2]}…{text[len(text) * 2 // 3 :]}",
    "without hyphens": lambda text: text.replace("-", ""),
    "in groups": lambda text: " ".join(text[start : start + 5] for start in range(0, len(text), 5)),
    "stars at the end": lambda text: text[:-3] + "***",
}
PLACES: dict[str, Callable[[str], tuple[int, str, str | None]]] = {
    "bracket": lambda text: (404, json.dumps({"error": f"Event request failed (Device not found) ({text})"}), None),
    "bare": lambda text: (400, f"Event request failed ({text})", "text/plain"),
    "labelled": lambda text: (400, json.dumps({"message": f"Event failed (Invalid revenue, adid: {text})"}), None),
    "quoted": lambda text: (400, json.dumps({"error": f"Event Token for wrong app: '{text}'"}), None),
    "a 200": lambda text: (200, json.dumps({"error": f"Event request failed ({text})"}), "application/json"),
    "a 500": lambda text: (500, json.dumps({"error": f"no luck with {text}"}), None),
    "a key": lambda text: (403, json.dumps({text: "denied"}), "application/json"),
    "page": lambda text: (403, f"<html><title>Blocked {text}</title>", "text/html"),
    "attribute": lambda text: (403, f'<a href="https://x.example/?{text}">', "text/html"),
    "a tag without an end": lambda text: (403, f"<title {text}", "text/html"),
    "content type": lambda text: (403, "no", f"text/html; {text}"),
    "content type alone": lambda text: (302, "", text),
    "far in": lambda text: (403, f"{'denied ' * 27}{text}", "text/plain"),
    "at the limit": lambda text: (403, f"{'x' * 3995} {text}", "text/plain"),
}
