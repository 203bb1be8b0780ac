"""Languages: from the codes that callers send to those that checkpoints' adapters have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr_client import ServerInfo
from asr_gateway.errors import bad_field

# Each line: ISO 639-1, ISO 639-3, English name.
_TABLE = """
aa aar afar
ab abk abkhazian
ae ave avestan
af afr afrikaans
ak aka akan
am amh amharic
an arg aragonese
ar ara arabic
as asm assamese
av ava avaric
ay aym aymara
az aze azerbaijani
ba bak bashkir
be bel belarusian
bg bul bulgarian
bi bis bislama
bm bam bambara
bn ben bengali
bo bod tibetan
br bre breton
bs bos bosnian
ca cat catalan
ce che chechen
ch cha chamorro
co cos corsican
cr cre cree
cs ces czech
cu chu church slavic
cv chv chuvash
cy cym welsh
da dan danish
de deu german
dv div dhivehi
dz dzo dzongkha
ee ewe ewe
el ell greek
en eng english
eo epo esperanto
es spa spanish
et est estonian
eu eus basque
fa fas persian
ff ful fulah
fi fin finnish
fj fij fijian
fo fao faroese
fr fra french
fy fry western frisian
ga gle irish
gd gla scottish gaelic
gl glg galician
gn grn guarani
gu guj gujarati
gv glv manx
ha hau hausa
he heb hebrew
hi hin hindi
ho hmo hiri motu
hr hrv croatian
ht hat haitian
hu hun hungarian
hy hye armenian
hz her herero
ia ina interlingua
id ind indonesian
ie ile interlingue
ig ibo igbo
ii iii sichuan yi
ik ipk inupiaq
io ido ido
is isl icelandic
it ita italian
iu iku inuktitut
ja jpn japanese
jv jav javanese
ka kat georgian
kg kon kongo
ki kik kikuyu
kj kua kuanyama
kk kaz kazakh
kl kal kalaallisut
km khm khmer
kn kan kannada
ko kor korean
kr kau kanuri
ks kas kashmiri
ku kur kurdish
kv kom komi
kw cor cornish
ky kir kirghiz
la lat latin
lb ltz luxembourgish
lg lug ganda
li lim limburgan
ln lin lingala
lo lao lao
lt lit lithuanian
lu lub luba-katanga
lv lav latvian
mg mlg malagasy
mh mah marshallese
mi mri maori
mk mkd macedonian
ml mal malayalam
mn mon mongolian
mr mar marathi
ms msa malay
mt mlt maltese
my mya burmese
na nau nauru
nb nob norwegian bokmål
nd nde north ndebele
ne nep nepali
ng ndo ndonga
nl nld dutch
nn nno norwegian nynorsk
no nor norwegian
nr nbl south ndebele
nv nav navajo
ny nya nyanja
oc oci occitan
oj oji ojibwa
om orm oromo
or ori oriya
os oss ossetian
pa pan panjabi
pi pli pali
pl pol polish
ps pus pushto
pt por portuguese
qu que quechua
rm roh romansh
rn run rundi
ro ron romanian
ru rus russian
rw kin kinyarwanda
sa san sanskrit
sc srd sardinian
sd snd sindhi
se sme northern sami
sg sag sango
sh hbs serbo-croatian
si sin sinhala
sk slk slovak
sl slv slovenian
sm smo samoan
sn sna shona
so som somali
sq sqi albanian
sr srp serbian
ss ssw swati
st sot southern sotho
su sun sundanese
sv swe swedish
sw swa swahili
ta tam tamil
te tel telugu
tg tgk tajik
th tha thai
ti tir tigrinya
tk tuk turkmen
tl tgl tagalog
tn tsn tswana
to ton tonga
tr tur turkish
ts tso tsonga
tt tat tatar
tw twi twi
ty tah tahitian
ug uig uighur
uk ukr ukrainian
ur urd urdu
uz uzb uzbek
ve ven venda
vi vie vietnamese
vo vol volapük
wa wln walloon
wo wol wolof
xh xho xhosa
yi yid yiddish
yo yor yoruba
za zha zhuang
zh zho chinese
zu zul zulu
"""
_SHOWN = 20
"""Languages that a message lists."""
_ROWS = [line.split(" ", 2) for line in _TABLE.strip().splitlines()]
TO_639_3 = {two: three for two, three, _ in _ROWS}
_NAMES = {code: name for two, three, name in _ROWS for code in (two, three)}


@dataclass(frozen=True)
class Language:
    """The language of a request."""

    adapter: str | None
    """What asr-server is asked for; None for its own."""
    name: str
    """For the answer: the English name in lower case, or the code where there is none."""


def resolve(asked: str | None, *, own: str, served: ServerInfo | None = None) -> Language:
    """The language that a request asks for.

    Args:
        asked: the request's field: ISO 639-1, or the name of an adapter; None for the own.
        own: the checkpoint's, such as "en-US".
        served: what asr-server says of itself; None, or a server that says nothing, has unknown
            languages, and then it judges.

    Raises:
        ApiError: 400 for two letters that are no language, and for one that asr-server lacks.
    """
    own_code = _three_letters(own.partition("-")[0].lower())
    adapters = served.languages if served else ()
    # The gateway's word counts, unless asr-server has another language of that name.
    default = adapters[0] if own_code in adapters else own_code
    if asked is None:
        return Language(None, name(default))
    code = asked.strip().lower()
    if len(code) == 2 and code not in TO_639_3:
        raise bad_field("language", f"The language {asked!r} is no code of ISO 639-1.")
    if not code:
        raise bad_field("language", "The field language is empty.")
    wanted = own_code if code == own.lower() else _three_letters(code)
    for adapter in (code, wanted):
        if adapter in adapters:
            return Language(adapter if adapter != adapters[0] else None, name(code))
    if wanted == default:
        return Language(None, name(default))
    if served is not None and served.fingerprint is not None:
        has = ", ".join(adapters[:_SHOWN]) or "no language adapters"
        more = f" and {len(adapters) - _SHOWN} more" if len(adapters) > _SHOWN else ""
        raise bad_field(
            "language",
            f"The language {asked!r} ({wanted!r}) is not there; asr-server has {has}{more}.",
            code="unknown_language",
        )
    return Language(wanted, name(code))


def doubts(own: str, adapters: Sequence[str]) -> list[str]:
    """What is wrong with the gateway's `--language`, in lines for the operator.

    Args:
        own: the value of `--language`.
        adapters: the languages of asr-server, its default first.
    """
    own_code = _three_letters(own.partition("-")[0].lower())
    if own_code not in adapters[1:]:
        return []
    return [
        f"--language {own}: asr-server's default is {adapters[0]!r}; requests without a language "
        "are answered in that"
    ]


def name(code: str) -> str:
    """The English name of a language in lower case; the code itself where it has none."""
    return _NAMES.get(code, code)


def _three_letters(code: str) -> str:
    return TO_639_3.get(code, code)
