"""Texts that may contain secrets: masking them, and naming them by their digest.

A secret can look like anything, so the first wall is that free text is not passed on at all (`named`, `digest_of`). Where text must
stay readable, in a town's own image and on the operator's screen, `masked` removes what looks like a secret. It also finds secrets
that are written in another form: percent-encoded, with JSON or HTML escapes, in base64 or hexadecimal digits, or broken over
several lines.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

REMOVED: Final = "[removed]"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@~+-]{1,200}")
_RESULT_ID: Final = re.compile(r"res-[0-9a-f]{64}-[0-9]{1,6}")
_LONG: Final = 8_192
_PLACES: Final = 5

TOKENS: Final = r"""
      gh[opsur]_[\w.-]{10,} | github_pat_\w{10,} | GR1348941[\w-]{8,}
    | gl(?:pat|ptt|dt|rtr?|cbt|soat|imt|ft|ffct|agent|wt|oas)-[\w.-]{8,}
    | (?:npm|hf|dckr_pat|dop_v1|doo_v1|shp[a-z]{2}|whsec|sntr[a-z]{1,2}|pul|lin_api|rubygems)_[A-Za-z0-9_.-]{10,}
    | pypi-[\w-]{10,} | AIza[\w-]{12,} | ya29\.[\w-]{10,} | SG\.[\w-]{10,}\.[\w-]{10,} | hvs\.[\w-]{10,} | ATATT[\w-]{10,}
    | (?:glsa|glc|gsk|r8|figd|ntn|pscale_(?:tkn|oauth|pw)|CCIPAT|sbp|sq[apu]|f[mo][12])_[\w+/=-]{16,} | hv[br]\.[\w-]{10,}
    | (?:NRAK|NRII|PMAK|GOCSPX|pplx|xai|sq0(?:atp|csp|idp))-[\w-]{16,} | dp\.[a-z]{2,5}\.[\w-]{16,} | dapi[0-9a-f]{32}
    | (?<![A-Za-z0-9])(?:AC|SK|key-)[0-9a-f]{32}(?![A-Za-z0-9]) | (?<![A-Za-z0-9])[0-9a-f]{32}-us[0-9]{1,2}(?![A-Za-z0-9])
    | AGE-SECRET-KEY-\w{10,} | xapp-[\w-]{10,} | xox[a-z]-[\w-]{8,} | (?<![A-Za-z0-9])(?:sk|pk|rk)[-_][\w-]{8,}
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,} | eyJ[\w-]{8,}(?:\.[\w-]*){0,4}
"""
"""Tokens that say themselves what they are, as a part of a verbose regular expression."""
_NAME: Final = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret(?!smanager:)|token|api[_-]?key|credentials?|signature|cookie|authori[sz]ation|session[_-]?id"
    r"|(?:access|private|account|control|signing|shared|master)[_-]?key)"
)
_HARMLESS: Final = (
    r"(?i:bearer\s)?(?:(?:ARN|DIR|FILE|ID|KEY|N|NAME|PREFIX|REGION|RIG|TOKEN|TOWN|URL|VALUE)"
    r"|(?i:an?|and|another|as|by|for|from|in|is|its?|no|not|of|on|or|than|that|the|to|with))(?![\w.:/=+@%$!#~-])"
)
"""What stands where a secret could stand and is none: the placeholders of our own commands and hints, and words of English that
are nobody's password. It cannot be continued by what a secret may consist of."""
_QUOTED: Final = r"""(?:\\{0,7}"(?:[^"\\]|\\[^"\\])*\\{0,7}"?|'[^']*'?)"""
_SECRET: Final = re.compile(
    rf"""
      (?P<pem>-----BEGIN .{{0,8192}}?(?:-----END [^-\n]{{0,64}}-----|\Z))
    | (?P<header>(?i:(?:proxy-)?authorization|(?:set-)?cookie|(?:private|job|deploy)-token
        |x-[\w-]{{0,40}}(?:key|token|secret|signature|auth)[\w-]{{0,20}})["']?\s{{0,3}}[:=]\s{{0,3}}+["']?+)
        (?!{_HARMLESS})(?P<header_value>(?:=\\{{0,7}}"[^"\r\n]*"|[^\r\n"'])+)
    | (?<=://)(?P<user>[^\s"'<>]{{0,512}}@)
    | (?P<scheme>(?i:\b(?:bearer|digest|negotiate|aws4-hmac-sha256)\s+))
        (?!token\b|{_HARMLESS})(?P<scheme_value>\w{{1,20}}=\\{{0,7}}"[^\r\n]*|[^\s"',;]+)
    | (?P<word>(?i:\b(?:basic|token|apikey|key)\s+))
        (?P<word_value>(?=[^\s"',;]*[A-Z0-9_=+/]|\S{{20}})[A-Za-z0-9._~+/=-]{{6,}})
    | (?P<query>[?&;][\w.%\[\]-]{{1,64}}=)(?!{_HARMLESS})(?P<query_value>[^&;\s"'<>\#]+)
    | (?P<pair>(?i:(?:{_NAME}|private-token|x-[\w-]{{0,40}}(?:key|token|secret|signature|auth))[\w-]{{0,20}})
        (?:\\?["']\s{{0,3}},\s{{0,3}}(?:\\?["'](?i:value)\\?["']\s{{0,3}}[:=]\s{{0,3}})?|\(\s{{0,3}})b?)
        (?P<pair_value>(?=\\{{0,7}}["']){_QUOTED})
    | (?P<key>(?i:{_NAME}[\w-]{{0,20}}|(?<![A-Za-z0-9])(?:sig|auth|key|pat|dsn|pin|otp)\b)
        \\?["']?\s{{0,3}}(?:[:=]|=>)\s{{0,3}})
        (?!{_HARMLESS}|"\.\.\."|(?:missing|null|None|true|false|expired|invalid|required|extra_forbidden
            |[a-z]+_(?:type|parsing|error|too_long|too_short))\b)
        (?P<key_value>{_QUOTED}(?:\s{{0,3}},\s{{0,3}}\\?["'](?i:value)\\?["']\s{{0,3}}[:=]\s{{0,3}}{_QUOTED})?
            |[\w.]{{1,40}}\({_QUOTED}|[^\s,;&"'}})\]]+)
    | (?P<tag><[\w:.-]{{0,40}}(?i:{_NAME})[\w-]{{0,20}}(?:\s[^<>]{{0,200}})?>)(?P<tag_value>[^<]+)
    | (?P<said>(?i:\b(?:login|user(?:name)?|account)\s{{1,20}}\S{{1,64}}\s{{1,20}}pass(?:word|wd)\s+
        |\bpass(?:word|wd|phrase|code)\s+(?:for|of)\s+\S{{1,64}}?\s{{0,3}}[:=]\s{{0,3}}
        |\b(?:pass(?:word|phrase|code)|secret|token|api\skey)\s+(?:is|was)\s+
            (?!(?:an?|the|no|not|now|only|too|in|of|empty|expired|invalid|malformed|missing|required|unknown|wrong
                |less|refreshed|stored|valid)\b|{_HARMLESS})))
        (?P<said_value>\S+)
    | (?P<login_flag>(?:(?<![\w-])(?:-u|--user)|\b(?:mysql|mariadb|sshpass)[^\r\n]{{0,100}}?\s["']?-p)(?:["']?,?\s+["']?)?)
        (?P<login_flag_value>(?<=p)[^\s"',]+|(?<=[\s"'])[^\s"':]+:[^\s"']+|(?<=p["',\s])["'\s]{{0,3}}[^\s"',]+)
    | (?P<flag>(?i:(?<![\w-])--?[\w-]{{0,30}}{_NAME}[\w-]{{0,10}})\s+)(?!{_HARMLESS})(?P<flag_value>[^\s"']+)
    | (?P<hook>(?i:hooks\.slack(?:-gov)?\.com/|discord(?:app)?\.com/api/|webhook\.office\.com/|/(?:web)?hooks?/))
        (?P<hook_value>[^\s"'<>]+)
    | (?P<login>(?<![\w.:/-])[\w.+-]{{1,64}}:[^\s:@/"'<>]{{1,128}}@(?=[\w-]+[.:/]))
    | {TOKENS}
    | (?<![A-Za-z0-9])[0-9a-fA-F]{{64,}}(?![A-Za-z0-9])
    | (?<![0-9a-fA-F])[0-9a-fA-F]{{16,}}+(?:(?:\\n|[^\S\n]){{0,40}}+\n\s{{0,40}}+[0-9a-fA-F]{{16,}}+)+
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUES: Final = ("header", "scheme", "word", "query", "pair", "key", "tag", "said", "login_flag", "flag", "hook")
"""The forms of which the beginning is kept and the value is removed."""
_STRICT: Final = re.compile(TOKENS + r"| -----BEGIN[A-Z]* | ://[^\s/]{0,512}@", re.VERBOSE)
"""What is a secret also in a text whose blanks were removed."""
_RUN: Final = re.compile(r"[A-Za-z0-9+/_=-]{20,}")
_WHOLE_KEY: Final = 32
_HEX: Final = re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}){8,}+(?![0-9a-fA-F])")
_CODED: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_BLANKS: Final = re.compile(r"(?:\\[nrt]|[\s\\\"'`+>|,])+")
_BREAKS: Final = re.compile(r"[ \t]*(?:\\[nr]|[\r\n])\s*")
_PERCENT: Final = re.compile(r"(?:%[0-9a-fA-F]{2})+")
_HTML: Final = re.compile(r"&(?:#([0-9]{1,4})|#[xX]([0-9a-fA-F]{1,4})|(quot|apos|amp|lt|gt));")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)

_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""What no text contains. A fixed list, so that ticks do not depend on a version of Unicode."""


def digest_of(text: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a text, by which equal texts are recognised."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def named(identifier: str) -> str:
    """An id as it may be shown anywhere: itself if it is a plain id, else its digest. Producers choose ids freely."""
    if _RESULT_ID.fullmatch(identifier) or (_PLAIN.fullmatch(identifier) and masked(identifier) == identifier):
        return identifier
    return f"sha256:{digest_of(identifier)}"


def places_of(error: BaseException) -> list[str]:
    """Where an error was raised: the innermost functions of its traceback with their lines, without any text."""
    found: list[str] = []
    step = error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        found.append(f"{module}.{step.tb_frame.f_code.co_name}:{step.tb_lineno}")
        step = step.tb_next
    return found[-_PLACES:]


def masked(text: str) -> str:
    """The text with everything removed that looks like a secret; a text that hides one in another form is removed as a whole."""
    if len(text) > _LONG:
        text = f"{text[:_LONG]} (cut)"
    shown = _RUN.sub(_without_random, _SECRET.sub(_without_value, text))
    return f"{REMOVED} ({len(text)} characters)" if _hides_a_secret(text, shown) else shown


def _without_value(found: re.Match[str]) -> str:
    for name in _VALUES:
        if found[name] is not None:
            return f"{found[name]}{REMOVED}"
    return f"{REMOVED}@" if found["user"] or found["login"] else REMOVED


def _without_random(found: re.Match[str]) -> str:
    return REMOVED if _is_random(found[0]) else found[0]


def _is_random(run: str) -> bool:
    """Whether a run of characters looks like a part of a random key: it has capitals, small letters and digits, well mixed."""
    kinds = ["A" if each.isupper() else "a" if each.islower() else "0" for each in run if each.isalnum()]
    turns = sum(one != other for one, other in pairwise(kinds))
    digits = 1 if len(run) >= _WHOLE_KEY else 2
    return min(kinds.count("A"), kinds.count("a")) >= 2 and kinds.count("0") >= digits and turns * 3 >= len(kinds)


def _hides_a_secret(text: str, shown: str) -> bool:
    """Whether another form of a text, of which the masked one is given, contains a secret that the text itself does not show."""
    if any(_changes(form) for form in _other_forms(shown)):
        return True
    joined = _BLANKS.sub("", shown)
    return (bool(_STRICT.search(joined)) and not _STRICT.search(shown)) or _goes_on_in_the_next_line(text)


def _goes_on_in_the_next_line(text: str) -> bool:
    """Whether a secret is broken over lines. Then only its first part would look like one."""
    joined = _BREAKS.sub("", text)
    if joined == text:
        return False
    return any(found[0] not in text for found in _SECRET.finditer(joined)) or any(
        run not in text and _is_random(run) for run in _RUN.findall(joined)
    )


def _other_forms(text: str) -> Iterator[str]:
    decoded = text
    for _ in range(3):
        further = _HTML.sub(_from_html, _ESCAPE.sub(_unescaped, _PERCENT.sub(_from_percent, decoded)))
        if further == decoded:
            break
        decoded = further
        yield decoded
    for pattern, read in ((_CODED, _from_base64), (_HEX, bytes.fromhex)):
        for found in pattern.finditer(text):
            inner = _text_of(read, found[0])
            if inner is not None:
                yield inner


def _changes(form: str) -> bool:
    return any(_is_new(found) for found in _SECRET.finditer(form)) or any(
        _is_random(each) for each in _RUN.findall(form)
    )


def _is_new(found: re.Match[str]) -> bool:
    """Whether a secret was found that is not the mark of one that was removed before."""
    return REMOVED not in found[0] and not found[0].endswith(REMOVED[:-1])


def _from_percent(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode(errors="replace")


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code is not None:
        return chr(int(code, 16))
    return {"n": "\n", "r": "\r", "t": "\t"}.get(found[3], found[3])


def _from_html(found: re.Match[str]) -> str:
    if found[3]:
        return {"quot": '"', "apos": "'", "amp": "&", "lt": "<", "gt": ">"}[found[3]]
    return chr(int(found[1]) if found[1] else int(found[2], 16))


def _from_base64(run: str) -> bytes:
    plain = run.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _text_of(read: Callable[[str], bytes], run: str) -> str | None:
    """The text that is written in another form; None if it is not text."""
    try:
        inner = read(run).decode("utf-8")
    except ValueError:
        return None
    return None if _CONTROL.search(inner) else inner
