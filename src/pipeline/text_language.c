/* The language scorer: see text_language.h. A word of at most eight bytes is one number, so that a
 * vote is one look into a small hash table. */
#include "pipeline/text_language.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/text_markup.h"

const char *const text_language_codes[TEXT_LANGUAGE_COUNT] = {"it", "en", "fr", "de", "es", "pt"};

/* Function words of at most eight bytes, one blank between two. */
static const char *const WORDS[TEXT_LANGUAGE_COUNT] = {
    "il lo la i gli le un uno una di a da in con su per tra fra del dello della dei degli delle al "
    "allo "
    "alla ai agli alle dal dallo dalla dai dagli dalle nel nello nella nei negli nelle sul sulla "
    "sui "
    "sulle e ed o ma se che chi cui non si ci ne è sono era erano sarà essere stato stata stati ha "
    "hanno "
    "aveva ho hai abbiamo avere questo questa questi queste quello quella quelli quelle come più "
    "anche "
    "dove quando perché perchè poi già ancora molto così tutto tutti tutte ogni sempre solo dopo "
    "prima "
    "senza mi ti vi suo sua suoi loro nostro può possono deve viene vengono anni quindi però "
    "oppure "
    "sia cosa dell all nell sull dall c l d",
    "the of and to in is that it for was on are as with his they be at one have this from or had "
    "by "
    "not but what all were when we there can an your which their said if do will each about how up "
    "out "
    "them then she many some so these would other into has more her two him see could no been its "
    "who "
    "now my made over did down only way find use may any where most through after our before you i "
    "a he",
    "le la les un une des du de et est en que qui dans pour pas au aux sur ne se ce il elle sont "
    "avec "
    "par plus nous vous ils mais ou où son sa ses leur cette ces comme tout être fait été a à on "
    "lui "
    "même sans je mon ma mes votre notre ont était très aussi peut bien deux y d l c n s qu",
    "der die das und ist in den von zu mit sich des auf für nicht ein eine als auch es an werden "
    "aus er "
    "hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur "
    "oder "
    "aber vor zur bis mehr durch man sein wurde wenn kann ich du wir ihr ihre unter können",
    "el la los las un una de del y en que es por con para no se su al lo como más pero sus le ya o "
    "este "
    "sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos "
    "durante "
    "todos uno les ni contra otros ese eso ante ellos esto antes algunos qué unos yo otro otras "
    "son fue "
    "ha está han ser tiene puede años a",
    "o a os as um uma de do da dos das e em no na nos nas que é por com para não se ao aos mais "
    "como mas "
    "foi ele ela seu sua seus suas ou ser quando muito há já está eu também só pelo pela até isso "
    "entre "
    "depois sem mesmo quem me esse eles essa num nem são tem à era você uns meu às minha têm este "
    "esta "
    "foram pode anos",
};

enum { SLOTS = 2048, WORD_MAX_BYTES = 8 };

struct text_language {
    int wanted; /* index into the codes */
    struct {
        uint64_t word; /* 0: free */
        uint8_t languages;
    } slots[SLOTS];
};

static size_t slot_of(uint64_t word)
{
    return (size_t)((word * 0x9E3779B97F4A7C15u) >> 53);
}

/* The languages that have a word, a bit each. */
static unsigned look_up(const struct text_language *l, uint64_t word)
{
    for (size_t i = slot_of(word); l->slots[i].word; i = (i + 1) % SLOTS)
        if (l->slots[i].word == word)
            return l->slots[i].languages;
    return 0;
}

static void add_word(struct text_language *l, const char *s, size_t n, int language)
{
    uint64_t word = 0;
    memcpy(&word, s, n);
    size_t i = slot_of(word);
    while (l->slots[i].word && l->slots[i].word != word)
        i = (i + 1) % SLOTS;
    l->slots[i].word = word;
    l->slots[i].languages = (uint8_t)(l->slots[i].languages | 1u << language);
}

int text_language_new(struct text_language **out, const char *code, struct err *err)
{
    int wanted = 0;
    while (wanted < TEXT_LANGUAGE_COUNT && strcmp(text_language_codes[wanted], code) != 0)
        wanted++;
    if (wanted == TEXT_LANGUAGE_COUNT)
        return err_set(err, MOE2_ECONFIG,
                       "language \"%s\" is unknown, wanted one of: it, en, fr, de, es, pt", code);
    struct text_language *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, MOE2_ELIMIT, "no memory for the words of a language");
    l->wanted = wanted;
    for (int language = 0; language < TEXT_LANGUAGE_COUNT; language++)
        for (const char *w = WORDS[language]; *w;) {
            size_t n = strcspn(w, " ");
            add_word(l, w, n, language);
            w += n + (w[n] != 0);
        }
    *out = l;
    return 0;
}

void text_language_free(struct text_language *l)
{
    free(l);
}

/* ---- walking over words ---- */

struct walk {
    const char *s;
    size_t n, i;
};

struct word {
    uint64_t packed; /* lower case; 0: longer than eight bytes */
    int n_latin, n_other;
    bool ends_in_vowel;
};

/* Latin letters beyond ASCII: Latin-1 Supplement, Latin Extended-A. */
static bool is_latin(uint32_t c)
{
    return c >= 0xC0 && c <= 0x17F && c != 0xD7 && c != 0xF7;
}

/* Letters of other scripts, roughly: Greek to the end of the plane's alphabets, kana, ideographs. */
static bool is_other_letter(uint32_t c)
{
    return (c >= 0x370 && c < 0x2000) || (c >= 0x3040 && c < 0xD800) ||
           (c >= 0xF900 && c < 0xFB00) || (c >= 0x20000 && c < 0x30000);
}

static bool is_vowel(uint32_t c)
{
    const uint32_t aeiou = 1u << 0 | 1u << 4 | 1u << 8 | 1u << 14 | 1u << 20;
    if (c < 0x80)
        return aeiou >> (c - 'a') & 1;
    return c >= 0xE0 && c <= 0xFA && c != 0xE7 && c != 0xF1;
}

/* A letter beyond ASCII; its length in bytes, 0 for what is none. */
static int add_letter(struct word *w, size_t *n_bytes, const char *s, size_t n)
{
    uint32_t c;
    int length = text_get_char(&c, s, n);
    if (!length)
        return 0;
    if (c >= 0xC0 && c <= 0xDE && c != 0xD7)
        c += 32;
    if (is_latin(c))
        w->n_latin++;
    else if (is_other_letter(c))
        w->n_other++;
    else
        return 0;
    w->ends_in_vowel = is_vowel(c);
    if (c < 0x800 && *n_bytes + 1 < WORD_MAX_BYTES)
        w->packed |= (uint64_t)(0xC0 | c >> 6) << 8 * *n_bytes | (uint64_t)(0x80 | (c & 0x3F))
                                                                     << 8 * (*n_bytes + 1);
    else
        *n_bytes = WORD_MAX_BYTES;
    *n_bytes += 2;
    return length;
}

/* The next run of letters; false at the end. */
static bool next_word(struct walk *walk, struct word *w)
{
    *w = (struct word){0};
    size_t n_bytes = 0, i = walk->i, n = walk->n;
    const char *s = walk->s;
    while (i < n) {
        uint8_t c = (uint8_t)s[i] | 32;
        if (c >= 'a' && c <= 'z') {
            if (n_bytes < WORD_MAX_BYTES)
                w->packed |= (uint64_t)c << 8 * n_bytes;
            n_bytes++;
            w->n_latin++;
            w->ends_in_vowel = is_vowel(c);
            i++;
            continue;
        }
        int length = (uint8_t)s[i] < 0x80 ? 0 : add_letter(w, &n_bytes, s + i, n - i);
        if (!length && n_bytes)
            break;
        i += length ? (size_t)length : 1;
    }
    walk->i = i;
    if (n_bytes > WORD_MAX_BYTES)
        w->packed = 0;
    return n_bytes > 0;
}

struct window {
    int n_words, votes[TEXT_LANGUAGE_COUNT];
    int n_long, n_vowel; /* words of three letters and more, and those that end in a vowel */
    int64_t n_latin, n_other;
};

static void vote(const struct text_language *l, struct window *v, const struct word *w)
{
    v->n_words++;
    v->n_latin += w->n_latin;
    v->n_other += w->n_other;
    if (w->n_latin >= 3) {
        v->n_long++;
        v->n_vowel += w->ends_in_vowel;
    }
    unsigned languages = w->packed ? look_up(l, w->packed) : 0;
    for (int i = 0; languages; i++, languages >>= 1)
        v->votes[i] += languages & 1;
}

static int most_votes_of_others(const struct window *v, int wanted)
{
    int most = 0;
    for (int i = 0; i < TEXT_LANGUAGE_COUNT; i++)
        if (i != wanted && v->votes[i] > most)
            most = v->votes[i];
    return most;
}

/* 1: of the language; 0: can't say; −1: of another. */
static int judge(const struct text_language *l, const struct window *v)
{
    if (v->n_other > v->n_latin)
        return -1;
    int own = v->votes[l->wanted], others = most_votes_of_others(v, l->wanted);
    if (own || others)
        return own >= others ? 1 : -1;
    bool is_italian = l->wanted == 0;
    return is_italian && v->n_long >= 5 && 10 * v->n_vowel >= 7 * v->n_long ? 1 : 0;
}

double text_language_share(const struct text_language *l, const char *text, size_t n)
{
    struct walk walk = {text, n, 0};
    struct word w;
    int64_t n_own = 0, n_judged = 0, n_letters = 0;
    for (bool more = true; more;) {
        struct window v = {0};
        while (v.n_words < TEXT_LANGUAGE_WINDOW && (more = next_word(&walk, &w)))
            vote(l, &v, &w);
        int verdict = judge(l, &v);
        int64_t letters = v.n_latin + v.n_other;
        n_letters += letters;
        n_judged += verdict ? letters : 0;
        n_own += verdict > 0 ? letters : 0;
    }
    double least = (double)n_letters / 4;
    double over = (double)n_judged > least ? (double)n_judged : least;
    return over > 0 ? (double)n_own / over : 0;
}

bool text_language_is_foreign(const struct text_language *l, const char *text, size_t n)
{
    struct walk walk = {text, n, 0};
    struct word w;
    struct window v = {0};
    while (next_word(&walk, &w))
        vote(l, &v, &w);
    if (v.n_other > v.n_latin)
        return v.n_other >= 20;
    int others = most_votes_of_others(&v, l->wanted);
    return others >= 4 && 4 * v.votes[l->wanted] < others;
}
