/* A phrase book: see synth_italian.h. At each place the longest phrase that fits is put in its translation's place; what no phrase
 * fits stays. A phrase that begins or ends with a letter fits only where no letter stands beside it. */
#include "pipeline/synth_italian.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct phrase {
    const char *english, *italian;
} phrases[] = {
    /* arithmetic, sequences, bases */
    {"What is the remainder when ", "Che resto dà "},
    {" is divided by ", " diviso per "},
    {"What is ", "Quanto fa "},
    {" plus ", " più "},
    {" minus ", " meno "},
    {" times ", " per "},
    {"Take ", "Prendi "},
    {", add ", ", aggiungi "},
    {", then multiply by ", ", poi moltiplica per "},
    {"What comes out?", "Che cosa ne viene?"},
    {"Which number comes next:", "Quale numero segue:"},
    {"How is the number ", "Come si scrive il numero "},
    {" of base ", " di base "},
    {" written in base ", " in base "},
    /* sorting */
    {"Put these words in alphabetical order:", "Metti queste parole in ordine alfabetico:"},
    {"Put these words in reverse alphabetical order:",
     "Metti queste parole in ordine alfabetico inverso:"},
    {"Put these numbers in ascending order:", "Metti questi numeri in ordine crescente:"},
    {"Put these numbers in descending order:", "Metti questi numeri in ordine decrescente:"},
    {"Which one stands in place ", "Quale sta al posto "},
    /* strings */
    {"How is ", "Come si legge "},
    {" spelt backwards?", " al contrario?"},
    {"Move the first 1 letter of ", "Sposta la prima lettera di "},
    {"Move the first ", "Sposta le prime "},
    {" letters of ", " lettere di "},
    {" to its end.", " in fondo."},
    {"Replace every letter of ", "Sostituisci ogni lettera di "},
    {" by the one ", " con quella "},
    {" later in the alphabet, a following z.", " posti avanti nell'alfabeto, dopo z viene a."},
    {"Let the first and the last letter of ", "Scambia la prima e l'ultima lettera di "},
    {" change places.", "."},
    {"Which letters stay of ", "Quali lettere restano di "},
    {" without its letter number ", " senza la lettera numero "},
    /* dates */
    {"Which date is ", "Che data viene "},
    {" days after ", " giorni dopo il "},
    {" days before ", " giorni prima del "},
    {"How many days after ", "Quanti giorni dopo il "},
    {" is ", " viene il "},
    {"If today is ", "Se oggi è "},
    {", which day of the week is it in ", ", che giorno della settimana è fra "},
    {"Which day of the week is ", "Che giorno della settimana è il "},
    {"Monday", "lunedì"},
    {"Tuesday", "martedì"},
    {"Wednesday", "mercoledì"},
    {"Thursday", "giovedì"},
    {"Friday", "venerdì"},
    {"Saturday", "sabato"},
    {"Sunday", "domenica"},
    {"January", "gennaio"},
    {"February", "febbraio"},
    {"March", "marzo"},
    {"April", "aprile"},
    {"May", "maggio"},
    {"June", "giugno"},
    {"July", "luglio"},
    {"August", "agosto"},
    {"September", "settembre"},
    {"October", "ottobre"},
    {"November", "novembre"},
    {"December", "dicembre"},
    /* units */
    {"How many ", "Quanto fanno in "},
    {" are ", ", "},
    {"kilometres", "chilometri"},
    {"metres", "metri"},
    {"centimetres", "centimetri"},
    {"millimetres", "millimetri"},
    {"square metres", "metri quadrati"},
    {"square decimetres", "decimetri quadrati"},
    {"tonnes", "tonnellate"},
    {"kilograms", "chilogrammi"},
    {"grams", "grammi"},
    {"milligrams", "milligrammi"},
    {"litres", "litri"},
    {"decilitres", "decilitri"},
    {"millilitres", "millilitri"},
    {"weeks", "settimane"},
    {"days", "giorni"},
    {"hours", "ore"},
    {"minutes", "minuti"},
    {"seconds", "secondi"},
    {"bytes", "byte"},
    {"bits", "bit"},
    {"dozens", "dozzine"},
    {"pieces", "pezzi"},
    /* logic */
    {" is taller than ", " è più grande di "},
    {" is shorter than ", " è meno grande di "},
    {" is older than ", " è meno giovane di "},
    {" is younger than ", " è più giovane di "},
    {" is faster than ", " è più veloce di "},
    {" is slower than ", " è meno veloce di "},
    {" is richer than ", " è più abbiente di "},
    {" is poorer than ", " è meno abbiente di "},
    {"Who is number ", "Chi è il numero "},
    {", counted from the tallest?", ", contando dal più grande?"},
    {", counted from the oldest?", ", contando dal meno giovane?"},
    {", counted from the fastest?", ", contando dal più veloce?"},
    {", counted from the richest?", ", contando dal più abbiente?"},
    {" stand in a circle.", " stanno in cerchio."},
    {" holds a coin.", " ha una moneta."},
    {" swap what they hold.", " si scambiano ciò che hanno."},
    {"Who holds the coin?", "Chi ha la moneta?"},
    {"Each of four people has another animal:", "Ognuno di quattro ha un altro animale:"},
    {" has ", " ha "},
    {"What does ", "Che cosa ha "},
    {" have?", "?"},
    {" and ", " e "},
    {" or ", " o "},
    {"a cat", "un gatto"},
    {"a dog", "un cane"},
    {"a goat", "una capra"},
    {"a horse", "un cavallo"},
    {"a fish", "un pesce"},
    {"a snake", "un serpente"},
    {"a rabbit", "un coniglio"},
    {"a parrot", "un pappagallo"},
};

static int is_letter(char c)
{
    return isalpha((unsigned char)c);
}

static int fits(const char *phrase, size_t n, const char *text, const char *begin)
{
    if (strncmp(text, phrase, n) != 0)
        return 0;
    if (text > begin && is_letter(text[-1]) && is_letter(phrase[0]))
        return 0;
    return !(is_letter(phrase[n - 1]) && is_letter(text[n]));
}

static const struct phrase *longest(size_t *n_best, const char *text, const char *begin)
{
    const struct phrase *best = NULL;
    *n_best = 0;
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        const char *phrase = phrases[i].english;
        size_t n = *phrase == *text ? strlen(phrase) : 0;
        if (n > *n_best && fits(phrase, n, text, begin)) {
            best = &phrases[i];
            *n_best = n;
        }
    }
    return best;
}

static void translate(char *text, size_t bytes)
{
    char english[SYNTH_QUESTION_BYTES];
    size_t at = 0, n = 0;
    snprintf(english, sizeof english, "%s", text);
    text[0] = 0;
    while (english[at]) {
        const struct phrase *p = longest(&n, english + at, english);
        if (p)
            synth_put(text, bytes, "%s", p->italian);
        else
            synth_put(text, bytes, "%c", english[at]);
        at += p ? n : 1;
    }
}

void synth_italian(struct synth_item *item)
{
    translate(item->question, sizeof item->question);
    for (int i = 0; i < SYNTH_OPTIONS; i++)
        translate(item->options[i], sizeof item->options[i]);
}
