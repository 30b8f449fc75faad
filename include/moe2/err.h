/* How a function says that the world let it down.
 *
 * A function that can fail for reasons outside the program returns 0, or a negative MOE2_E… code after filling a struct err.
 * The message is one sentence for the person who typed the command: it names the thing, the value seen and the value wanted.
 *
 *     if (t->n_dims != 2)
 *         return err_set(err, MOE2_EFORMAT, "%s: tensor %s has %d dimensions, wanted 2", path, t->name, t->n_dims);
 *
 * Mistakes of our own are asserts, never errors. Outputs are written only on success.
 */
#ifndef MOE2_ERR_H
#define MOE2_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MOE2_EIO = -1,      /* the system refused: open, read, write, map, connect */
    MOE2_EFORMAT = -2,  /* a file or message is not what it says it is */
    MOE2_ECONFIG = -3,  /* a key, flag or combination of them makes no sense */
    MOE2_ELIMIT = -4,   /* more than memory, disk or a named maximum allows */
    MOE2_ENUMERIC = -5, /* NaN or infinity where a number must stand */
    MOE2_ESTOP = -6,    /* the user asked to stop; what was done so far is saved */
};

struct err {
    int code; /* 0 when nothing happened */
    char msg[512];
};

#ifdef __cplusplus
}
#endif
#endif
