/* A seeded grammar of Italian: see text_grammar.h.
 *
 * A phrase is written word by word into a buffer; what depends on the next word (an article, a
 * preposition with one) is decided when that word is known. Rules: articles before s + consonant, z,
 * gn, ps, x, y are lo/gli/uno, before a vowel l'/gli/un (un' before a feminine), else il/i/un.
 */
#include "pipeline/text_grammar.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct noun {
    const char *one, *many;
    bool feminine, person;
};

static const struct noun NOUNS[] = {
    {"bambino", "bambini", false, true},
    {"bambina", "bambine", true, true},
    {"maestro", "maestri", false, true},
    {"maestra", "maestre", true, true},
    {"medico", "medici", false, true},
    {"contadino", "contadini", false, true},
    {"pescatore", "pescatori", false, true},
    {"scrittrice", "scrittrici", true, true},
    {"studente", "studenti", false, true},
    {"studentessa", "studentesse", true, true},
    {"vicino", "vicini", false, true},
    {"sorella", "sorelle", true, true},
    {"fratello", "fratelli", false, true},
    {"madre", "madri", true, true},
    {"padre", "padri", false, true},
    {"nonna", "nonne", true, true},
    {"zio", "zii", false, true},
    {"amico", "amici", false, true},
    {"amica", "amiche", true, true},
    {"straniero", "stranieri", false, true},
    {"signora", "signore", true, true},
    {"operaio", "operai", false, true},
    {"cuoco", "cuochi", false, true},
    {"attrice", "attrici", true, true},
    {"musicista", "musicisti", false, true},
    {"giornalista", "giornalisti", false, true},
    {"avvocato", "avvocati", false, true},
    {"sindaco", "sindaci", false, true},
    {"soldato", "soldati", false, true},
    {"viaggiatore", "viaggiatori", false, true},
    {"casa", "case", true, false},
    {"strada", "strade", true, false},
    {"piazza", "piazze", true, false},
    {"chiesa", "chiese", true, false},
    {"scuola", "scuole", true, false},
    {"finestra", "finestre", true, false},
    {"porta", "porte", true, false},
    {"tavola", "tavole", true, false},
    {"sedia", "sedie", true, false},
    {"lettera", "lettere", true, false},
    {"parola", "parole", true, false},
    {"storia", "storie", true, false},
    {"domanda", "domande", true, false},
    {"risposta", "risposte", true, false},
    {"canzone", "canzoni", true, false},
    {"notizia", "notizie", true, false},
    {"montagna", "montagne", true, false},
    {"collina", "colline", true, false},
    {"isola", "isole", true, false},
    {"spiaggia", "spiagge", true, false},
    {"barca", "barche", true, false},
    {"nave", "navi", true, false},
    {"macchina", "macchine", true, false},
    {"bicicletta", "biciclette", true, false},
    {"chiave", "chiavi", true, false},
    {"lampada", "lampade", true, false},
    {"bottiglia", "bottiglie", true, false},
    {"mela", "mele", true, false},
    {"arancia", "arance", true, false},
    {"erba", "erbe", true, false},
    {"foresta", "foreste", true, false},
    {"idea", "idee", true, false},
    {"legge", "leggi", true, false},
    {"regola", "regole", true, false},
    {"opera", "opere", true, false},
    {"estate", "estati", true, false},
    {"notte", "notti", true, false},
    {"mattina", "mattine", true, false},
    {"città", "città", true, false},
    {"università", "università", true, false},
    {"verità", "verità", true, false},
    {"luce", "luci", true, false},
    {"libro", "libri", false, false},
    {"giornale", "giornali", false, false},
    {"quaderno", "quaderni", false, false},
    {"albero", "alberi", false, false},
    {"giardino", "giardini", false, false},
    {"fiume", "fiumi", false, false},
    {"lago", "laghi", false, false},
    {"mare", "mari", false, false},
    {"ponte", "ponti", false, false},
    {"treno", "treni", false, false},
    {"viaggio", "viaggi", false, false},
    {"lavoro", "lavori", false, false},
    {"ufficio", "uffici", false, false},
    {"mercato", "mercati", false, false},
    {"negozio", "negozi", false, false},
    {"cavallo", "cavalli", false, false},
    {"cane", "cani", false, false},
    {"gatto", "gatti", false, false},
    {"uccello", "uccelli", false, false},
    {"pesce", "pesci", false, false},
    {"pane", "pani", false, false},
    {"formaggio", "formaggi", false, false},
    {"vino", "vini", false, false},
    {"bicchiere", "bicchieri", false, false},
    {"piatto", "piatti", false, false},
    {"specchio", "specchi", false, false},
    {"zaino", "zaini", false, false},
    {"orologio", "orologi", false, false},
    {"ombrello", "ombrelli", false, false},
    {"abito", "abiti", false, false},
    {"sogno", "sogni", false, false},
    {"ricordo", "ricordi", false, false},
    {"segreto", "segreti", false, false},
    {"problema", "problemi", false, false},
    {"sistema", "sistemi", false, false},
    {"programma", "programmi", false, false},
    {"teatro", "teatri", false, false},
    {"quadro", "quadri", false, false},
    {"sentiero", "sentieri", false, false},
    {"villaggio", "villaggi", false, false},
    {"castello", "castelli", false, false},
    {"palazzo", "palazzi", false, false},
    {"inverno", "inverni", false, false},
    {"anno", "anni", false, false},
    {"giorno", "giorni", false, false},
    {"gnomo", "gnomi", false, true},
    {"psicologo", "psicologi", false, true},
    {"zoccolo", "zoccoli", false, false},
};

/* Masculine one, feminine one, masculine many, feminine many. */
static const char *const ADJECTIVES[][4] = {
    {"alto", "alta", "alti", "alte"},
    {"basso", "bassa", "bassi", "basse"},
    {"antico", "antica", "antichi", "antiche"},
    {"nuovo", "nuova", "nuovi", "nuove"},
    {"vecchio", "vecchia", "vecchi", "vecchie"},
    {"piccolo", "piccola", "piccoli", "piccole"},
    {"bianco", "bianca", "bianchi", "bianche"},
    {"nero", "nera", "neri", "nere"},
    {"rosso", "rossa", "rossi", "rosse"},
    {"giallo", "gialla", "gialli", "gialle"},
    {"freddo", "fredda", "freddi", "fredde"},
    {"caldo", "calda", "caldi", "calde"},
    {"lungo", "lunga", "lunghi", "lunghe"},
    {"largo", "larga", "larghi", "larghe"},
    {"stretto", "stretta", "stretti", "strette"},
    {"vicino", "vicina", "vicini", "vicine"},
    {"lontano", "lontana", "lontani", "lontane"},
    {"famoso", "famosa", "famosi", "famose"},
    {"prezioso", "preziosa", "preziosi", "preziose"},
    {"silenzioso", "silenziosa", "silenziosi", "silenziose"},
    {"tranquillo", "tranquilla", "tranquilli", "tranquille"},
    {"stanco", "stanca", "stanchi", "stanche"},
    {"allegro", "allegra", "allegri", "allegre"},
    {"curioso", "curiosa", "curiosi", "curiose"},
    {"strano", "strana", "strani", "strane"},
    {"vero", "vera", "veri", "vere"},
    {"pieno", "piena", "pieni", "piene"},
    {"vuoto", "vuota", "vuoti", "vuote"},
    {"povero", "povera", "poveri", "povere"},
    {"ricco", "ricca", "ricchi", "ricche"},
    {"grande", "grande", "grandi", "grandi"},
    {"verde", "verde", "verdi", "verdi"},
    {"dolce", "dolce", "dolci", "dolci"},
    {"forte", "forte", "forti", "forti"},
    {"gentile", "gentile", "gentili", "gentili"},
    {"difficile", "difficile", "difficili", "difficili"},
    {"facile", "facile", "facili", "facili"},
    {"felice", "felice", "felici", "felici"},
    {"triste", "triste", "tristi", "tristi"},
    {"elegante", "elegante", "eleganti", "eleganti"},
    {"importante", "importante", "importanti", "importanti"},
    {"veloce", "veloce", "veloci", "veloci"},
    {"giovane", "giovane", "giovani", "giovani"},
    {"utile", "utile", "utili", "utili"},
    {"semplice", "semplice", "semplici", "semplici"},
};

/* Third person: present one, many; imperfect one, many; past participle (with avere). */
struct verb {
    const char *forms[4], *participle;
};

static const struct verb TRANSITIVE[] = {
    {{"guarda", "guardano", "guardava", "guardavano"}, "guardato"},
    {{"vede", "vedono", "vedeva", "vedevano"}, "visto"},
    {{"cerca", "cercano", "cercava", "cercavano"}, "cercato"},
    {{"trova", "trovano", "trovava", "trovavano"}, "trovato"},
    {{"porta", "portano", "portava", "portavano"}, "portato"},
    {{"prende", "prendono", "prendeva", "prendevano"}, "preso"},
    {{"lascia", "lasciano", "lasciava", "lasciavano"}, "lasciato"},
    {{"apre", "aprono", "apriva", "aprivano"}, "aperto"},
    {{"chiude", "chiudono", "chiudeva", "chiudevano"}, "chiuso"},
    {{"compra", "comprano", "comprava", "compravano"}, "comprato"},
    {{"vende", "vendono", "vendeva", "vendevano"}, "venduto"},
    {{"conosce", "conoscono", "conosceva", "conoscevano"}, "conosciuto"},
    {{"ricorda", "ricordano", "ricordava", "ricordavano"}, "ricordato"},
    {{"dimentica", "dimenticano", "dimenticava", "dimenticavano"}, "dimenticato"},
    {{"aspetta", "aspettano", "aspettava", "aspettavano"}, "aspettato"},
    {{"incontra", "incontrano", "incontrava", "incontravano"}, "incontrato"},
    {{"disegna", "disegnano", "disegnava", "disegnavano"}, "disegnato"},
    {{"descrive", "descrivono", "descriveva", "descrivevano"}, "descritto"},
    {{"costruisce", "costruiscono", "costruiva", "costruivano"}, "costruito"},
    {{"pulisce", "puliscono", "puliva", "pulivano"}, "pulito"},
    {{"nasconde", "nascondono", "nascondeva", "nascondevano"}, "nascosto"},
    {{"perde", "perdono", "perdeva", "perdevano"}, "perso"},
    {{"ascolta", "ascoltano", "ascoltava", "ascoltavano"}, "ascoltato"},
    {{"ama", "amano", "amava", "amavano"}, "amato"},
    {{"teme", "temono", "temeva", "temevano"}, "temuto"},
    {{"studia", "studiano", "studiava", "studiavano"}, "studiato"},
    {{"racconta", "raccontano", "raccontava", "raccontavano"}, "raccontato"},
    {{"difende", "difendono", "difendeva", "difendevano"}, "difeso"},
};

static const struct verb INTRANSITIVE[] = {
    {{"dorme", "dormono", "dormiva", "dormivano"}, "dormito"},
    {{"cammina", "camminano", "camminava", "camminavano"}, "camminato"},
    {{"lavora", "lavorano", "lavorava", "lavoravano"}, "lavorato"},
    {{"parla", "parlano", "parlava", "parlavano"}, "parlato"},
    {{"canta", "cantano", "cantava", "cantavano"}, "cantato"},
    {{"ride", "ridono", "rideva", "ridevano"}, "riso"},
    {{"piange", "piangono", "piangeva", "piangevano"}, "pianto"},
    {{"gioca", "giocano", "giocava", "giocavano"}, "giocato"},
    {{"mangia", "mangiano", "mangiava", "mangiavano"}, "mangiato"},
    {{"viaggia", "viaggiano", "viaggiava", "viaggiavano"}, "viaggiato"},
    {{"abita", "abitano", "abitava", "abitavano"}, "abitato"},
    {{"riposa", "riposano", "riposava", "riposavano"}, "riposato"},
};

static const char *const NAMES[] = {"Anna",     "Luca",    "Giulia", "Marco",    "Elena", "Paolo",
                                    "Chiara",   "Andrea",  "Teresa", "Giovanni", "Lucia", "Pietro",
                                    "Caterina", "Stefano", "Irene",  "Matteo",   "Sofia", "Agnese"};
static const char *const PLACES[] = {"a Roma",    "a Milano",    "a Torino",   "a Napoli",
                                     "a Bologna", "a Venezia",   "a Firenze",  "a Genova",
                                     "a Palermo", "in Toscana",  "in Sicilia", "in Liguria",
                                     "in Umbria", "in campagna", "in città"};
static const char *const TIMES[] = {"ogni mattina", "la domenica",    "di notte",
                                    "in primavera", "d'estate",       "in autunno",
                                    "d'inverno",    "dopo cena",      "prima dell'alba",
                                    "al tramonto",  "nel pomeriggio", "da molti anni"};
static const char *const ADVERBS[] = {"spesso",     "sempre",  "ancora",      "volentieri",
                                      "lentamente", "insieme", "qui",         "bene",
                                      "poco",       "molto",   "in silenzio", "da lontano"};
static const char *const OPENERS[] = {"Poi",        "Allora",        "Intanto",   "Qualche volta",
                                      "Per questo", "Alla fine",     "Di solito", "Un giorno",
                                      "Forse",      "Secondo molti", "Infatti",   "Tuttavia"};
static const char *const JOINERS[] = {"mentre", "perché",   "e",      "ma",
                                      "quando", "anche se", "e così", "finché"};

/* Preposition and article: rows di a da in su con per; columns il lo la l' i gli le. */
static const char *const CONTRACTED[][7] = {
    {"del", "dello", "della", "dell'", "dei", "degli", "delle"},
    {"al", "allo", "alla", "all'", "ai", "agli", "alle"},
    {"dal", "dallo", "dalla", "dall'", "dai", "dagli", "dalle"},
    {"nel", "nello", "nella", "nell'", "nei", "negli", "nelle"},
    {"sul", "sullo", "sulla", "sull'", "sui", "sugli", "sulle"},
    {"con il", "con lo", "con la", "con l'", "con i", "con gli", "con le"},
    {"per il", "per lo", "per la", "per l'", "per i", "per gli", "per le"},
    {"il", "lo", "la", "l'", "i", "gli", "le"},
};

enum { DI, A, DA, IN, SU, CON, PER, NO_PREPOSITION };
enum { TOPIC_NOUNS = 7 };

struct text_grammar {
    struct rng rng;
    const struct noun *topic[TOPIC_NOUNS]; /* the first three are persons */
    const char *name;
    bool past;
};

int text_grammar_new(struct text_grammar **out, uint64_t seed, struct err *err)
{
    struct text_grammar *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(err, MOE2_ELIMIT, "no memory for a grammar");
    rng_init(&g->rng, seed);
    *out = g;
    return 0;
}

void text_grammar_free(struct text_grammar *g)
{
    free(g);
}

static size_t pick(struct text_grammar *g, size_t n)
{
    return (size_t)rng_below(&g->rng, n);
}

static bool chance(struct text_grammar *g, int percent)
{
    return rng_below(&g->rng, 100) < (uint64_t)percent;
}

/* ---- words ---- */

/* A word, with a blank before it unless a line begins or an apostrophe stands there. */
static int put(struct buf *out, const char *word, struct err *err)
{
    char last = out->n ? out->bytes[out->n - 1] : '\n';
    int rc = last == '\n' || last == '\'' ? 0 : buf_append(out, " ", 1, err);
    return rc ? rc : buf_puts(out, word, err);
}

static bool begins_with_vowel(const char *w)
{
    return strchr("aeiouAEIOU", w[0]) != NULL || (w[0] == 'h');
}

/* Words before which the masculine article is lo, gli, uno. */
static bool is_impure(const char *w)
{
    if (w[0] == 's')
        return !begins_with_vowel(w + 1);
    return w[0] == 'z' || w[0] == 'x' || w[0] == 'y' || strncmp(w, "gn", 2) == 0 ||
           strncmp(w, "ps", 2) == 0;
}

/* Column of CONTRACTED. */
static int article(bool feminine, bool many, const char *next)
{
    if (many)
        return feminine ? 6 : begins_with_vowel(next) || is_impure(next) ? 5 : 4;
    if (begins_with_vowel(next))
        return 3;
    return feminine ? 2 : is_impure(next) ? 1 : 0;
}

static const char *indefinite(bool feminine, const char *next)
{
    if (feminine)
        return begins_with_vowel(next) ? "un'" : "una";
    return is_impure(next) ? "uno" : "un";
}

/* ---- phrases ---- */

/* A noun with its article, behind a preposition, sometimes with an adjective behind it. */
static int put_noun(struct buf *out, struct text_grammar *g, const struct noun *noun, bool many,
                    int preposition, struct err *err)
{
    const char *word = many ? noun->many : noun->one;
    bool open = !many && preposition == NO_PREPOSITION && chance(g, 30);
    const char *before = open ? indefinite(noun->feminine, word)
                              : CONTRACTED[preposition][article(noun->feminine, many, word)];
    int rc = put(out, before, err);
    if (!rc)
        rc = put(out, word, err);
    if (!rc && chance(g, 35))
        rc = put(out, ADJECTIVES[pick(g, COUNT(ADJECTIVES))][2 * many + noun->feminine], err);
    return rc;
}

static const struct noun *topic_noun(struct text_grammar *g, bool person)
{
    return person ? g->topic[pick(g, 3)] : g->topic[3 + pick(g, TOPIC_NOUNS - 3)];
}

/* The subject; *many says its number. */
static int put_subject(struct buf *out, struct text_grammar *g, bool *many, struct err *err)
{
    *many = chance(g, 35);
    if (!*many && chance(g, 30))
        return put(out, g->name, err);
    return put_noun(out, g, topic_noun(g, true), *many, NO_PREPOSITION, err);
}

static int put_verb(struct buf *out, struct text_grammar *g, const struct verb *v, bool many,
                    struct err *err)
{
    if (g->past && chance(g, 40)) {
        int rc = put(out, many ? "hanno" : "ha", err);
        return rc ? rc : put(out, v->participle, err);
    }
    return put(out, v->forms[2 * g->past + many], err);
}

/* Where, when or how: a phrase of one of several kinds. */
static int put_circumstance(struct buf *out, struct text_grammar *g, struct err *err)
{
    switch (pick(g, 5)) {
    case 0:
        return put(out, PLACES[pick(g, COUNT(PLACES))], err);
    case 1:
        return put(out, TIMES[pick(g, COUNT(TIMES))], err);
    case 2:
        return put(out, ADVERBS[pick(g, COUNT(ADVERBS))], err);
    default:
        return put_noun(out, g, topic_noun(g, false), chance(g, 25), (int)(A + pick(g, 6)), err);
    }
}

/* È or sono and an adjective. */
static int put_state(struct buf *out, struct text_grammar *g, struct err *err)
{
    const struct noun *noun = topic_noun(g, chance(g, 40));
    bool many = chance(g, 30);
    int rc = put_noun(out, g, noun, many, NO_PREPOSITION, err);
    if (!rc)
        rc = put(out, g->past ? (many ? "erano" : "era") : (many ? "sono" : "è"), err);
    if (!rc && chance(g, 40))
        rc = put(out, chance(g, 50) ? "molto" : "sempre", err);
    return rc ? rc
              : put(out, ADJECTIVES[pick(g, COUNT(ADJECTIVES))][2 * many + noun->feminine], err);
}

static int put_clause(struct buf *out, struct text_grammar *g, struct err *err)
{
    bool many = false;
    if (chance(g, 20))
        return put_state(out, g, err);
    int rc = put_subject(out, g, &many, err);
    if (!rc && chance(g, 12))
        rc = put(out, "non", err);
    if (rc)
        return rc;
    if (chance(g, 70)) {
        rc = put_verb(out, g, &TRANSITIVE[pick(g, COUNT(TRANSITIVE))], many, err);
        if (!rc)
            rc = put_noun(out, g, topic_noun(g, chance(g, 15)), chance(g, 35), NO_PREPOSITION, err);
        if (!rc && chance(g, 25))
            rc = put_noun(out, g, topic_noun(g, chance(g, 50)), chance(g, 20), DI, err);
    } else {
        rc = put_verb(out, g, &INTRANSITIVE[pick(g, COUNT(INTRANSITIVE))], many, err);
    }
    if (!rc && chance(g, 50))
        rc = put_circumstance(out, g, err);
    return rc;
}

/* The first letter of a sentence: ASCII, or the è of "è". */
static void capitalise(struct buf *out, size_t first)
{
    char *c = out->bytes + first;
    if (*c == ' ')
        c++;
    if (*c >= 'a' && *c <= 'z')
        *c = (char)(*c - 32);
}

static int put_sentence(struct buf *out, struct text_grammar *g, struct err *err)
{
    size_t first = out->n;
    int rc = 0;
    if (chance(g, 22)) {
        rc = put(out, OPENERS[pick(g, COUNT(OPENERS))], err);
        if (!rc && chance(g, 30))
            rc = buf_puts(out, ",", err);
    }
    if (!rc)
        rc = put_clause(out, g, err);
    if (!rc && chance(g, 35)) {
        if (chance(g, 40))
            rc = buf_puts(out, ",", err);
        if (!rc)
            rc = put(out, JOINERS[pick(g, COUNT(JOINERS))], err);
        if (!rc)
            rc = put_clause(out, g, err);
    }
    if (rc)
        return rc;
    capitalise(out, first);
    return buf_puts(out, chance(g, 90) ? "." : chance(g, 60) ? "?" : "!", err);
}

/* ---- documents ---- */

static void choose_topic(struct text_grammar *g)
{
    for (int i = 0; i < TOPIC_NOUNS; i++)
        do
            g->topic[i] = &NOUNS[pick(g, COUNT(NOUNS))];
        while (g->topic[i]->person != (i < 3));
    g->name = NAMES[pick(g, COUNT(NAMES))];
    g->past = chance(g, 50);
}

int text_grammar_document(struct buf *out, struct text_grammar *g, struct err *err)
{
    choose_topic(g);
    int rc = 0;
    size_t n_paragraphs = 2 + pick(g, 5);
    for (size_t i = 0; i < n_paragraphs && !rc; i++) {
        size_t n_sentences = 3 + pick(g, 6);
        if (i > 0)
            rc = buf_puts(out, "\n", err);
        for (size_t j = 0; j < n_sentences && !rc; j++)
            rc = put_sentence(out, g, err);
        if (!rc)
            rc = buf_puts(out, "\n", err);
    }
    return rc;
}
