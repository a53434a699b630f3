"""How dates are written, by language, as the Unicode project's CLDR has it.

Written by ``python -m tests.support.date_names``; a test compares it with what Babel has. Twelve months and seven
weekdays from Monday on, long and short and in all forms, each ended by ";", its names by ",". Then the languages whose
dates in figures begin with the day, and the regions in which that is otherwise than in the rest of their language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MONTHS: Final[Mapping[str, str]] = {
    "ar": (
        "جانفي,كانون الثاني,يناير;شباط,فبراير,فيفري;آذار,مارس;أبريل,أفريل,نيسان;أيار,ماي,مايو;جوان,حزيران,يونيو;"
        "تموز,جويلية,يوليو,يوليوز;آب,أغسطس,أوت,غشت;أيلول,سبتمبر,شتنبر;أكتوبر,تشرين الأول;تشرين الثاني,نوفمبر,نونبر;"
        "دجنبر,ديسمبر,كانون الأول;"
    ),
    "fa": (
        "جنو,جنوری,ژانویه,ژانویهٔ;فبروری,فوریه,فوریهٔ;مارس,مارچ;آوریل,اپریل;مه,مهٔ,می;جون,ژوئن;"
        "جول,جولای,ژوئیه,ژوئیهٔ;اوت,اگست;سپتامبر,سپتمبر;اکتبر,اکتوبر;نوامبر,نومبر;دسامبر,دسم,دسمبر;"
    ),
    "fr": (
        "janv,janvier;févr,février;mars;avr,avril;mai;juin;juil,juillet;août;sept,septembre;oct,octobre;nov,novembre;"
        "déc,décembre;"
    ),
    "es": (
        "ene,enero;feb,febrero;mar,marzo;abr,abril;may,mayo;jun,junio;jul,julio;ago,agosto;sept,septiembre;"
        "oct,octubre;nov,noviembre;dic,diciembre;"
    ),
    "ru": (
        "янв,январь,января;февр,февраль,февраля;мар,март,марта;апр,апрель,апреля;май,мая;июн,июнь,июня;июл,июль,июля;"
        "авг,август,августа;сент,сентябрь,сентября;окт,октябрь,октября;нояб,ноябрь,ноября;дек,декабрь,декабря;"
    ),
    "de": (
        "Jan,Januar,Jän,Jänner;Feb,Februar;Mär,März;Apr,April;Mai;Jun,Juni;Jul,Juli;Aug,August;Sep,Sept,September;"
        "Okt,Oktober;Nov,November;Dez,Dezember;"
    ),
    "pt": (
        "jan,janeiro;fev,fevereiro;mar,março;abr,abril;mai,maio;jun,junho;jul,julho;ago,agosto;set,setembro;"
        "out,outubro;nov,novembro;dez,dezembro;"
    ),
    "it": (
        "gen,gennaio;feb,febbraio;mar,marzo;apr,aprile;mag,maggio;giu,giugno;lug,luglio;ago,agosto;set,settembre;"
        "ott,ottobre;nov,novembre;dic,dicembre;"
    ),
    "tr": (
        "Oca,Ocak;Şub,Şubat;Mar,Mart;Nis,Nisan;May,Mayıs;Haz,Haziran;Tem,Temmuz;Ağu,Ağustos;Eyl,Eylül;Eki,Ekim;"
        "Kas,Kasım;Ara,Aralık;"
    ),
    "uk": (
        "січ,січень,січня;лют,лютий,лютого;бер,березень,березня;квіт,квітень,квітня;трав,травень,травня;"
        "черв,червень,червня;лип,липень,липня;серп,серпень,серпня;вер,вересень,вересня;жовт,жовтень,жовтня;"
        "лист,листопад,листопада;груд,грудень,грудня;"
    ),
    "nl": (
        "jan,januari;feb,februari;maart,mrt;apr,april;mei;jun,juni;jul,juli;aug,augustus;sep,september;okt,oktober;"
        "nov,november;dec,december;"
    ),
    "pl": (
        "sty,styczeń,stycznia;lut,lutego,luty;mar,marca,marzec;kwi,kwiecień,kwietnia;maj,maja;cze,czerwca,czerwiec;"
        "lip,lipca,lipiec;sie,sierpień,sierpnia;wrz,wrzesień,września;paź,październik,października;"
        "lis,listopad,listopada;gru,grudnia,grudzień;"
    ),
    "en": (
        "Jan,January;Feb,February;Mar,March;Apr,April;May;Jun,June;Jul,July;Aug,August;Sep,September;Oct,October;"
        "Nov,November;Dec,December;"
    ),
}

WEEKDAYS: Final[Mapping[str, str]] = {
    "ar": "الاثنين;الثلاثاء;الأربعاء;الخميس;الجمعة;السبت;الأحد;",
    "fa": "دوشنبه;سه‌شنبه;چهارشنبه;پنجشنبه;جمعه;شنبه;یکشنبه;",
    "fr": "lun,lundi;mar,mardi;mer,mercredi;jeu,jeudi;ven,vendredi;sam,samedi;dim,dimanche;",
    "es": "lun,lunes;mar,martes;mié,miércoles;jue,jueves;vie,viernes;sáb,sábado;dom,domingo;",
    "ru": "пн,понедельник;вт,вторник;ср,среда;четверг,чт;пт,пятница;сб,суббота;воскресенье,вс;",
    "de": "Mo,Montag;Di,Dienstag;Mi,Mittwoch;Do,Donnerstag;Fr,Freitag;Sa,Samstag;So,Sonntag;",
    "pt": "seg,segunda-feira;ter,terça-feira;qua,quarta-feira;qui,quinta-feira;sex,sexta-feira;sáb,sábado;dom,domingo;",
    "it": "lun,lunedì;mar,martedì;mer,mercoledì;gio,giovedì;ven,venerdì;sab,sabato;dom,domenica;",
    "tr": "Pazartesi,Pzt;Sal,Salı;Çar,Çarşamba;Per,Perşembe;Cum,Cuma;Cmt,Cumartesi;Paz,Pazar;",
    "uk": "пн,понеділок;вт,вівторок;середа,ср;четвер,чт;пʼятниця,пт;сб,субота;нд,неділя;",
    "nl": "ma,maandag;di,dinsdag;wo,woensdag;do,donderdag;vr,vrijdag;za,zaterdag;zo,zondag;",
    "pl": "pon,poniedziałek;wt,wtorek;śr,środa;czw,czwartek;piątek,pt;sob,sobota;niedz,niedziela;",
    "en": "Mon,Monday;Tue,Tuesday;Wed,Wednesday;Thu,Thursday;Fri,Friday;Sat,Saturday;Sun,Sunday;",
}

DAY_FIRST: Final = frozenset(
    (
        "aa ab agq am an ar as asa ast az bal bas be bem bew bez bg bm bn br brx bs byn ca ccp cgg co cs cv cy da "
        "dav de dje doi dsb dua dv dyo ebu el es et ewo ff fi fo fr frr fur fy ga gd gez gl gsw gu guz gv ha haw he "
        "hi hr hsb ht hy ia id ie ig is it jmc jv ka kab kam kde kea kgp khq ki kk kkj kln km kn kok ksb ksf ksh ku "
        "kw kxv ky la lag lb lg lij lld ln lo lu luo luy lv mai mas mer mfe mgh mi mk ml mni mr ms mt mua my naq nb "
        "nd nds nl nmg nn nnh no nus nyn oc os pa pap pcm pl prg pt qu rif rm rn ro rof ru rwk sa saq sat sbp sc scn "
        "seh ses sg shi sid sk sl smn so sq sr ssy su sw syr szl ta te teo tg th tig tk to tpi tr trw tt twq tzm uk "
        "ur uz vai vec vi vun wal wo xnr xog yav yi yo yrl zgh "
    ).split()
)

DAY_FIRST_OTHERWISE: Final = frozenset(
    (
        "az-arab az-arab-iq az-arab-ir az-arab-tr en-001 en-150 en-ae en-ag en-ai en-at en-au en-bb en-be en-bm "
        "en-bs en-bw en-bz en-cc en-ch en-ck en-cm en-cx en-cy en-cz en-de en-dg en-dk en-dm en-er en-es en-fi en-fj "
        "en-fk en-fm en-fr en-gb en-gd en-gg en-gh en-gi en-gm en-gs en-gy en-hk en-hu en-id en-ie en-il en-im en-in "
        "en-io en-it en-je en-jm en-ke en-ki en-kn en-ky en-lc en-lr en-ls en-mg en-mo en-ms en-mt en-mu en-mv en-mw "
        "en-my en-na en-nf en-ng en-nl en-no en-nr en-nu en-nz en-pg en-pk en-pl en-pn en-pt en-pw en-ro en-rw en-sb "
        "en-sc en-sd en-sg en-sh en-si en-sk en-sl en-ss en-sx en-sz en-tc en-tk en-to en-tt en-tv en-tz en-ug en-vc "
        "en-vg en-vu en-ws en-zm en-zw es-pa es-pr fr-ca ha-arab ha-arab-ng ha-arab-sd ks-deva ks-deva-in se-fi "
        "uz-arab uz-arab-af zh-hans-hk zh-hans-mo zh-hans-sg zh-hant-hk zh-hant-mo "
    ).split()
)
