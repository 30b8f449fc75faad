/* Phrases that give away a line as a web page's furniture, in Italian and English: see text_clean.h.
 *
 * A phrase marks a line or sentence only up to a length, so that an article about privacy stays. The
 * search looks at the phrases of a place only when its four bytes, lowered and hashed, are those of
 * some phrase's start: one look into a kilobyte almost everywhere.
 */
#include <string.h>

#include "pipeline/text_clean.h"

static const struct phrase {
    const char *text; /* lower case ASCII; other characters as they are */
    int max_bytes;    /* of the line */
} PHRASES[] = {
    /* cookies and privacy */
    {"utilizza i cookie", 400},
    {"utilizza cookie", 400},
    {"utilizziamo i cookie", 400},
    {"utilizziamo cookie", 400},
    {"usa i cookie", 400},
    {"usa cookie", 400},
    {"fa uso di cookie", 400},
    {"uso dei cookie", 400},
    {"uso di cookie", 400},
    {"utilizzo dei cookie", 400},
    {"utilizzo di cookie", 400},
    {"cookie policy", 300},
    {"cookie di terze parti", 400},
    {"cookie di profilazione", 400},
    {"cookie tecnici", 400},
    {"informativa sui cookie", 300},
    {"accetta i cookie", 300},
    {"accetto i cookie", 300},
    {"uses cookies", 300},
    {"use cookies", 300},
    {"use of cookies", 300},
    {"privacy policy", 200},
    {"informativa sulla privacy", 200},
    {"informativa privacy", 200},
    {"al trattamento dei miei dati", 300},
    {"consenso al trattamento dei dati", 300},
    /* copyright and imprint */
    {"tutti i diritti riservati", 250},
    {"tutti i diritti sono riservati", 250},
    {"all rights reserved", 250},
    {"riproduzione riservata", 200},
    {"riproduzione vietata", 200},
    {"copyright ©", 250},
    {"© copyright", 250},
    {"copyright (c)", 250},
    {"© 20", 200},
    {"© 19", 200},
    {"p.iva", 200},
    {"p. iva", 200},
    {"partita iva:", 200},
    {"powered by", 120},
    {"realizzato da:", 80},
    /* sharing and following */
    {"condividi su", 150},
    {"condividi:", 150},
    {"condividi questo", 150},
    {"condividi con i tuoi", 150},
    {"share this", 120},
    {"share on", 120},
    {"mi piace:", 100},
    {"mi piace caricamento", 100},
    {"seguici su", 200},
    {"seguici anche su", 200},
    {"segui su twitter", 150},
    {"segui su facebook", 150},
    {"iscriviti alla newsletter", 250},
    {"iscriviti alla nostra newsletter", 250},
    {"iscriviti al nostro", 200},
    {"iscriviti al canale", 200},
    {"ricevi gli aggiornamenti", 200},
    {"invia tramite email", 150},
    {"invia ad un amico", 120},
    {"invia a un amico", 120},
    {"aggiungi ai preferiti", 100},
    {"aggiungi al carrello", 120},
    /* reading on, comments, log-in */
    {"leggi tutto", 100},
    {"continua a leggere", 100},
    {"leggi anche:", 200},
    {"leggi di più", 100},
    {"read more", 100},
    {"clicca qui per", 150},
    {"torna su", 40},
    {"torna all'inizio", 60},
    {"torna alla home", 80},
    {"vai al contenuto", 80},
    {"salta al contenuto", 80},
    {"skip to content", 80},
    {"stampa questa pagina", 100},
    {"lascia un commento", 150},
    {"lascia una risposta", 150},
    {"annulla risposta", 150},
    {"il tuo indirizzo email non sar", 250},
    {"i campi obbligatori sono", 250},
    {"salva il mio nome, email", 250},
    {"devi essere connesso per", 150},
    {"effettua il login", 150},
    {"accedi o registrati", 150},
    {"hai dimenticato la password", 150},
    {"password dimenticata", 120},
    {"segnala un abuso", 120},
    {"segnala abuso", 100},
    {"leave a comment", 120},
    {"leave a reply", 120},
    /* translated manual pages */
    {"traduzione italiana di questa pagina di manuale", 400},
    {"questa traduzione è documentazione libera; leggere", 400},
    {"per segnalare errori nella traduzione di questa pagina", 400},
    /* technical */
    {"caricamento in corso", 80},
    {"caricamento...", 80},
    {"abilita javascript", 250},
    {"abilitare javascript", 250},
    {"attivare javascript", 250},
    {"enable javascript", 250},
    {"requires javascript", 250},
    {"il tuo browser non supporta", 250},
    {"il browser non supporta", 250},
    {"lorem ipsum", 400},
};

enum { N_PHRASES = sizeof PHRASES / sizeof *PHRASES, LINE_MAX_BYTES = 400 };

_Static_assert(N_PHRASES <= 128, "struct text_phrases has room for 128");

static inline uint8_t lower(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Four bytes as one number. Case is taken away by setting bit 5 of each: that blurs some punctuation,
 * which costs nothing. */
static inline uint32_t head_of(const char *s)
{
    uint32_t v;
    memcpy(&v, s, sizeof v);
    return v | 0x20202020u;
}

static inline unsigned hash_of(uint32_t head)
{
    return (head * 0x9E3779B1u) >> 19; /* 13 bits */
}

void text_phrases_init(struct text_phrases *p)
{
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < N_PHRASES; i++) {
        p->heads[i] = head_of(PHRASES[i].text);
        unsigned h = hash_of(p->heads[i]);
        p->starts[h / 64] |= (uint64_t)1 << h % 64;
    }
}

static bool is_phrase(const char *phrase, const char *s, size_t n_left)
{
    size_t i = 0;
    while (i < n_left && phrase[i] && lower(s[i]) == (uint8_t)phrase[i])
        i++;
    return !phrase[i];
}

/* The phrase at a place where the filter let one through. */
static const char *phrase_at(const struct text_phrases *p, uint32_t head, const char *s,
                             size_t n_left, size_t n_line)
{
    for (size_t i = 0; i < N_PHRASES; i++)
        if (p->heads[i] == head && n_line <= (size_t)PHRASES[i].max_bytes &&
            is_phrase(PHRASES[i].text, s, n_left))
            return PHRASES[i].text;
    return NULL;
}

static inline bool is_letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

const char *text_boilerplate(const struct text_phrases *p, const char *line, size_t n)
{
    if (n < 4 || n > LINE_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i + 4 <= n; i++) {
        if (i > 0 && is_letter(line[i - 1])) /* a phrase begins where a word does */
            continue;
        uint32_t head = head_of(line + i);
        unsigned h = hash_of(head);
        if (p->starts[h / 64] >> h % 64 & 1) {
            const char *found = phrase_at(p, head, line + i, n - i, n);
            if (found)
                return found;
        }
    }
    return NULL;
}
