"""Descriptions reduced to words of MR imaging: what a technologist typed may name the patient.

The *Clean Descriptors* option of PS3.15 E.3.5, by a list of what may stay. Every word that `select.py` looks for is in
it, so that series are chosen from a cleaned study as from the original one.
"""

import re

_WORDS = """
    PD WI WEIGHTED STAR MAP MAPS MAPPING TSE FSE FRFSE SSFSE HASTE SE GRE GR FFE TFE FLASH VIBE LAVA THRIVE
    DIXON MDIXON TRUFI TRUFISP FIESTA BTFE SPACE CUBE VISTA EPI EP EP2D EP3D DWI DW DWIBS DIFF DIFFUSION DTI
    TENSOR TRACE TRACEW ISO ISOTROPIC ISOTROP ADC EADC EXP EXPONENTIAL APPARENT COEFFICIENT FA COLFA FAT SAT
    FATSAT FS SPAIR SPIR STIR SPECIAL NAV NAVI BH RT RESP TRIG TRIGGERED BREATH BREATHHOLD HOLD FREE FB AX
    AXIAL TRA TRANS TRANSVERSE TRANSVERSAL COR CORONAL SAG SAGITTAL OBL OBLIQUE MRCP CHOLANGIO
    CHOLANGIOGRAPHY FLAIR DARK FLUID LOC LOCALIZER LOCALISER LOCALIZERS SCOUT SURVEY PLANE PLAN MPR MIP
    MINIP SUB SUBTR SUBTRACTION DYN DYNAMIC DIST DIS2D DIS3D GDC CALC CALCULATED CBVAL SYNTH SYNTHETIC
    COMPUTED CDWI SDWI PRE POST CONTRAST GD ART ARTERIAL VENOUS PORTAL DELAYED PHASE MAG IN OUT OPP OPPOSED
    WATER ABD ABDOMEN ABDOMINAL PELVIS LIVER PANC PANCREAS PANCREATIC UPPER LOWER BODY BRAIN HEAD PROSTATE
    SPINE KIDNEY RENAL SPLEEN MR MRI THIN THICK SLAB HR HIGH LOW RES SENSE ASSET ARC GRAPPA CAIPI PROPELLER
    BLADE MULTIVANE RESOLVE ZOOMIT FOCUS FIELD FIELDMAP FMAP PHANTOM QA DIR DIRECTIONS AP PA RL LR REV MEAN
    AVG NORM ND ORIG ORIGINAL SSH SS MS MULTI SINGLE SHOT SLICE SLICES AND WITH NO NEX NSA TE TR TI TSL ACC
    RUN SERIES IMAGE IMAGES T B C D W P WIP BVAL
"""
_JOINED = """
    ADC EADC DWI DIFF DIFFUSION DTI TRACE TRACEW TENSOR ISO DYN DIST CALC BVAL PHASE MAG MAP FIELD FLAIR TSE
    FSE FRFSE SSFSE HASTE EPI STIR SPAIR SPIR DIXON MIP MPR TRA COR SAG FAT SAT EP SE AX FS
"""
"""Words that are written without anything between them; others may not be, since names would come of it."""


def _any_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_UNIT = rf"(?:T[12]W?|B\d{{1,4}}T?|[234]D|{_any_of(_JOINED)})"
_KNOWN = re.compile(
    rf"\d{{0,3}}(?:{_any_of(_WORDS)})\d{{0,4}}|\d{{0,3}}(?:{_UNIT}\d{{0,3}}?)+", re.IGNORECASE
)
"""A word with its number (`p2`, `b1000`), or joined ones (`ep2d`, `DYNDIST`, `AxT2FS`). Five digits are no number."""
_NUMBER = re.compile(r"\d{1,4}")
_B = re.compile(r"(?:.*\D)?B(?:VAL)?\d{0,4}", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9]+")


def clean_description(words: str) -> str:
    """Keep the known words of a description, with what stood between them; drop everything else.

    Numbers stay where they are a single digit (`3 plane`, not `3.5.`) or belong to a b-value (`b50_400_800`).
    """
    tokens = list(_TOKEN.finditer(words))
    numbers = [_NUMBER.fullmatch(token[0]) is not None for token in tokens]
    kept: list[str] = []
    end, after_b = 0, False
    for place, token in enumerate(tokens):
        text = token[0]
        if numbers[place]:
            beside = any(numbers[max(place - 1, 0) : place] + numbers[place + 1 : place + 2])
            stays = after_b or (len(text) == 1 and not beside)
        else:
            stays = _KNOWN.fullmatch(text) is not None
        if stays:
            kept.append(_separator(words[end : token.start()]) if kept else "")
            kept.append(text)
        end = token.end()
        after_b = stays and (_B.fullmatch(text) is not None or (numbers[place] and after_b))
    return "".join(kept)


def _separator(between: str) -> str:
    """One or two signs stay, such as the underscore that a pattern looks for; anything longer or odd is a blank."""
    return between if 0 < len(between) <= 2 and between.isascii() and between.isprintable() else " "
