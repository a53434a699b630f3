"""What stands before dates and names in the head of an article, in the languages that pages are written in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_UPDATED: Final = (
    # en
    "updated", "update", "modified", "last edited", "edited", "revised", "last changed", "last reviewed", "corrected",
    # de, nl, sv, da, nb
    "aktualisiert", "geändert", "bearbeitet", "letzte änderung", "letzte aktualisierung", "stand", "bijgewerkt",
    "gewijzigd", "laatste wijziging", "uppdaterad", "opdateret", "oppdatert",
    # fr, es, pt, it
    "mis à jour", "mise à jour", "màj", "modifié", "modifiée", "dernière modification", "actualisé",
    "actualizado", "actualizada", "actualización", "modificado", "modificación", "atualizado", "atualizada",
    "atualização", "modificação", "modificada", "aggiornato", "aggiornata", "aggiornamento", "ultima modifica",
    "modificato",
    # ru, uk, pl, cs, tr
    "обновлено", "обновлён", "обновлен", "обновлена", "изменено", "изменён", "редакция от", "оновлено", "змінено",
    "zaktualizowano", "aktualizacja", "zmodyfikowano", "aktualizováno", "upraveno", "güncelleme", "güncellendi",
    "güncellenme",
    # ar, fa, hi, id, ja, zh, ko
    "تحديث", "تعديل", "به‌روزرسانی", "بروزرسانی", "به روزرسانی", "به روز رسانی", "ویرایش", "अपडेट", "अद्यतन",
    "diperbarui", "diubah", "更新", "改訂", "修改", "编辑于", "編輯於", "수정", "업데이트",
)  # fmt: skip
_TODAY: Final = (
    "today", "heute", "aujourd’hui", "aujourd'hui", "hoy", "hoje", "oggi", "vandaag", "сегодня", "сьогодні",
    "dzisiaj", "bugün", "اليوم", "امروز", "आज", "本日", "今日", "今天", "오늘",
)  # fmt: skip
_PUBLISHED: Final = (
    # en
    "first published on", "first published", "published on", "published at", "published", "publication date",
    "posted on", "posted at", "posted", "date posted", "released on", "released", "issued", "created", "date",
    "dated",
    # de, nl, sv, da, nb
    "veröffentlicht am", "veröffentlicht", "erschienen am", "erschienen", "erstellt am", "erstellt", "eingestellt am",
    "publiziert am", "publiziert", "datum", "vom", "gepubliceerd op", "gepubliceerd", "geplaatst op", "geplaatst",
    "publicerad", "udgivet", "publisert",
    # fr, es, pt, it
    "publié le", "publiée le", "publié", "publiée", "posté le", "paru le", "mis en ligne le", "rédigé le",
    "publicado el", "publicado em", "publicado", "publicada", "publicación", "fecha de publicación", "fecha",
    "postado em", "data", "data de publicação", "pubblicato il", "pubblicato", "pubblicata", "data di pubblicazione",
    # ru, uk, pl, cs, tr
    "дата публикации", "опубликовано", "опубликована", "опубликован", "размещено", "добавлено", "дата",
    "опубліковано", "дата публікації", "opublikowano", "data publikacji", "opublikowane", "dodano", "publikováno",
    "vydáno", "yayınlanma tarihi", "yayın tarihi", "yayınlanma", "yayınlandı", "yayımlandı", "yayımlanma",
    "eklenme tarihi", "eklenme", "oluşturulma tarihi", "oluşturulma", "giriş tarihi", "giriş", "tarih",
    # ar, fa, hi, id, ja, zh, ko
    "تاريخ النشر", "نشر في", "نشرت في", "نُشر في", "نشر بتاريخ", "نشر", "تاريخ", "تاریخ انتشار", "زمان انتشار",
    "انتشار", "تاریخ", "منتشر شده در", "प्रकाशित", "diterbitkan", "dipublikasikan", "tayang", "公開日", "公開",
    "掲載日", "掲載", "投稿日", "発表日", "配信", "发布时间", "发布于", "发布", "发表于", "发表时间", "發布時間",
    "發佈", "时间", "日期", "송고시간", "기사입력", "입력", "등록", "게시",
)  # fmt: skip
# Before a name, with a colon or without.
_BY: Final = (
    "by", "written by", "words by", "story by", "report by", "posted by", "submitted by", "published by",
    "reported by", "reporting by", "live reporting by", "article by", "analysis by", "opinion by", "comment by",
    "review by", "interview by", "column by", "von", "verfasst von", "geschrieben von", "ein artikel von",
    "eine analyse von", "ein kommentar von", "door", "geschreven door", "af", "par", "publié par", "écrit par",
    "rédigé par", "propos recueillis par", "un article de", "por", "escrito por", "publicado por", "postado por",
    "di", "scritto da", "a cura di", "pubblicato da", "przez", "opublikowane przez", "napisał", "napisała", "yazan",
    "بقلم", "كتب", "كتبت", "كتبه", "مرسلة بواسطة", "نشر بواسطة", "بواسطة", "به قلم", "oleh", "ditulis oleh", "av",
)  # fmt: skip
# Before a name only with a colon, a slash or a bar: without it, they are other words.
_BY_COLON: Final = (
    "author", "authors", "writer", "reporter", "reporters", "text", "autor", "autorin", "autoren", "auteur",
    "auteurs", "texte", "redacción", "texto", "autora", "autores", "redator", "repórter", "reportagem", "autore",
    "testo", "tekst", "автор", "авторы", "автор текста", "текст", "yazar", "haber", "muhabir", "الكاتب", "الكاتبة",
    "إعداد", "تقرير", "نویسنده", "خبرنگار", "گزارشگر", "نگارنده", "लेखक", "penulis", "文", "記者", "執筆", "取材・文",
    "著者", "筆者", "作者", "记者", "撰文", "글", "기자", "작성자", "författare", "forfatter",
)  # fmt: skip


def _any(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


# A label is a whole word, but for scripts that set no spaces.
_DATE_LABELS: Final = re.compile(
    rf"(?<![^\W\d_])(?:(?P<updated>{_any(_UPDATED)})|(?P<today>{_any(_TODAY)})|(?P<published>{_any(_PUBLISHED)}))"
    r"(?:(?![^\W\d_])|(?<=[\u2e80-\u9fff\uac00-\ud7af]))",
    re.IGNORECASE,
)
_BY_LABEL: Final = re.compile(
    rf"(?:(?:{_any(_BY_COLON)})\s*[:：/／|｜=＝]\s*|(?:{_any(_BY)})(?:\s*[:：/／]\s*|\s+))",
    re.IGNORECASE,
)


_FIRSTS: Final = frozenset(one[0] for one in (*_BY, *_BY_COLON))


def date_labels(text: str) -> list[tuple[int, int, str]]:
    """Return where in a text words stand that tell what a date is of: ``published``, ``updated`` or ``today``."""
    return [(*one.span(), one.lastgroup or "") for one in _DATE_LABELS.finditer(text)]


def without_by(text: str) -> str | None:
    """Return what follows a word such as "By" or "Autor:"; None where the text begins with none."""
    text = text.lstrip()
    if text[:1].lower() not in _FIRSTS:
        return None
    found = _BY_LABEL.match(text)
    return text[found.end() :] if found else None
