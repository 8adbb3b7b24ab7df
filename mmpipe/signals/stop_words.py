"""The words of a language that say nothing of a text's subject: pronouns, articles, prepositions, common verbs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_EN = """
a about after again all also am an and any are as at be because been before being between both but by can could did do
does doing down during each few for from further had has have having he her here hers him his how i if in into is it
its just me more most my no nor not now of off on once only or other our out over own s same she should so some such t
than that the their them then there these they this those through to too under until up very was we were what when
where which while who whom why will with would you your yours
"""
_DE = """
aber alle als also am an ander auch auf aus bei bin bis bist da damit dann das dass dein dem den der des dich die dies
diese diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es euch euer für gegen
habe haben hat hatte hier hin hinter ich ihm ihn ihnen ihr ihre im in ist ja jede jeder jetzt kann kein keine können
machen man mehr mein mich mir mit muss nach nicht nichts noch nun nur ob oder ohne sehr sein seine sich sie sind so
soll über um und uns unser unter vom von vor war waren was weil welche wenn wer werden wie wieder will wir wird wo zu
zum zur zwischen
"""
_FR = """
ai as au aux avec avait avoir c ce ces cette comme d dans de des donc dont du elle elles en est et eu été être eux
fait il ils j je l la le les leur leurs lui m ma mais me même mes moi mon n ne nos notre nous on ont ou où par pas
plus pour qu quand que qui s sa sans se ses si son sont sur t ta te tes toi ton tout tous tu un une vos votre vous y à
était
"""
_ES = """
a al algo como con cual cuando de del desde donde e el él ella ellas ellos en entre era eran es esa ese eso esta está
están este esto fue ha han hasta hay la las le les lo los más me mi mis mucho muy nada ni no nos nosotros o os otra
otro para pero poco por porque que qué quien se ser si sí sin sobre son su sus también te tiene tu tus un una uno unos
y ya yo
"""
_IT = """
a ad agli ai al alla alle anche avere c che chi ci come con cui da dal dalla dei del della delle di e è ed era essere
fu gli ha hanno ho i il in io l la le lei li lo loro lui ma mi mia mio ne negli nei nel nella noi non nostro o per
perché più quale quando quanto quella quello questa questo se si sia sono su sua sul sulla suo ti tra tu tua tuo tutti
tutto un una uno vi voi
"""
_PT = """
a ao aos as até com como da das de dela dele deles depois do dos e é ela elas ele eles em entre era essa esse esta
está este eu foi há isso isto já lhe mais mas me mesmo meu minha muito na não nas nem no nos nós o os ou para pela
pelo por qual quando que quem se sem ser seu seus só sua suas também te tem ter tu tua um uma você vocês vos à às
"""
_NL = """
aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een eens en er ge geen
geweest haar had heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men
met mij mijn moet na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw
van veel voor want waren was wat we wel werd wezen wie wil worden wordt zal ze zelf zich zij zijn zo zonder zou
"""

STOP_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        code: frozenset(words.split())
        for code, words in {"en": _EN, "de": _DE, "fr": _FR, "es": _ES, "it": _IT, "pt": _PT, "nl": _NL}.items()
    }
)
