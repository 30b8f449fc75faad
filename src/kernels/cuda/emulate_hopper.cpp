/* Hopper's own instructions on the CPU: see hopper.h for what they do and where that is said.
 *
 * A copy is done when somebody waits for its barrier, and until then its place holds NaN; a product reads shared memory when its group
 * is waited for. So a stage that is read before it has come, or given back before it was read, makes NaN. Shared memory begins at
 * an address that is no multiple of 1,024, as it may on a card.
 */
#ifdef MOE2_EMULATED
#include "kernels/cuda/hopper.h"

#include <assert.h>

namespace
{

enum { BASE = 16, COPIES = 256, PRODUCTS = 32, THREADS = 1024 };

struct barrier {
    uint8_t arrivals, missing, parity, unused;
    int32_t bytes; /* expected and not there */
};

struct copy {
    unsigned char *to;
    tensor_map map;
    int32_t column, row;
    struct barrier *b;
};

struct product {
    float *d;
    int n, group;
    uint64_t a, b;
    bool a_deep, b_deep;
};

struct thread {
    struct product products[PRODUCTS];
    int n_products, group;
};

struct copy copies[COPIES];
int n_copies;
struct thread threads[THREADS];

} // namespace

uint32_t shared_address(const void *p)
{
    return (uint32_t)((const unsigned char *)p - emulated.shared) + BASE;
}

static unsigned char *swizzled(uint32_t address)
{
    return emulated.shared + (address ^ (address >> 7 & 7) << 4) - BASE;
}

/* ---- barriers and copies ---- */

static void settle(struct barrier *b)
{
    if (b->missing || b->bytes)
        return;
    b->parity ^= 1;
    b->missing = b->arrivals;
    emulate_moved();
    emulate_yield(); /* whoever waited goes on at once */
}

void barrier_init(uint64_t *b, int arrivals)
{
    struct barrier fresh = {(uint8_t)arrivals, (uint8_t)arrivals, 0, 0, 0};
    memcpy(b, &fresh, sizeof fresh);
}

void barriers_ready(void)
{
}

void barrier_expect(uint64_t *at, uint32_t n_bytes)
{
    struct barrier *b = (struct barrier *)at;
    assert(b->missing);
    b->bytes += (int32_t)n_bytes;
    b->missing--;
    settle(b);
}

void barrier_arrive(uint64_t *at)
{
    barrier_expect(at, 0);
}

static void copy_now(const struct copy *c)
{
    const tensor_map *m = &c->map;
    for (int r = 0; r < m->box_rows; r++)
        for (int i = 0; i < PIECE_COLUMNS; i++) {
            int64_t row = (int64_t)c->row + r, column = (int64_t)c->column + i;
            bool there = row >= 0 && row < m->rows && column >= 0 && column < m->columns;
            uint16_t x = there ? m->base[row * m->pitch + column] : 0;
            memcpy(swizzled(shared_address(c->to) + (uint32_t)(r * PIECE_ROW_BYTES + i * 2)), &x,
                   2);
        }
    c->b->bytes -= m->box_rows * PIECE_ROW_BYTES;
}

void barrier_wait(uint64_t *at, unsigned parity)
{
    struct barrier *b = (struct barrier *)at;
    while (b->parity == parity) {
        if (!b->missing && b->bytes) {
            int kept = 0;
            for (int i = 0; i < n_copies; i++) {
                if (copies[i].b == b)
                    copy_now(&copies[i]);
                else
                    copies[kept++] = copies[i];
            }
            n_copies = kept;
            assert(b->bytes == 0);
            settle(b);
        } else {
            emulate_yield();
        }
    }
    emulate_moved();
}

void piece_fetch(void *to, const tensor_map *m, int32_t column, int32_t row, uint64_t *b)
{
    assert(n_copies < COPIES && shared_address(to) % PIECE_ALIGN == 0);
    memset(to, 0xff, (size_t)m->box_rows * PIECE_ROW_BYTES);
    copies[n_copies++] = {(unsigned char *)to, *m, column, row, (struct barrier *)b};
}

/* ---- products ---- */

static float operand_at(uint64_t descriptor, bool deep, int line, int k)
{
    uint32_t start = (uint32_t)(descriptor & 0x3fff) << 4,
             pieces = (uint32_t)(descriptor >> 16 & 0x3fff) << 4,
             groups = (uint32_t)(descriptor >> 32 & 0x3fff) << 4;
    uint32_t i = (uint32_t)line, j = (uint32_t)k, at;
    assert(descriptor >> 62 == 1 && (descriptor >> 49 & 7) == 0);
    if (deep)
        at = start + i / 64 * pieces + i % 64 * 2 + j / 8 * groups + j % 8 * PIECE_ROW_BYTES;
    else
        at = start + i / 8 * groups + i % 8 * PIECE_ROW_BYTES + j * 2;
    uint16_t x;
    memcpy(&x, swizzled(at), sizeof x);
    return bf16_value(x);
}

static void product_now(const struct product *p)
{
    enum { INNER = 16 };
    int in_group = (int)threadIdx.x % 128, lane = in_group % 32;
    float left[2][INNER];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < INNER; k++)
            left[i][k] = operand_at(p->a, p->a_deep, in_group / 32 * 16 + lane / 4 + 8 * i, k);
    for (int j = 0; j < p->n / 4; j++) {
        float right[INNER];
        for (int k = 0; k < INNER; k++)
            right[k] = operand_at(p->b, p->b_deep, j / 2 * 8 + lane % 4 * 2 + j % 2, k);
        for (int i = 0; i < 2; i++) {
            float *d = &p->d[j / 2 * 4 + i * 2 + j % 2], sum = 0;
            for (int k = 0; k < INNER; k++)
                sum += left[i][k] * right[k];
            *d += sum;
        }
    }
}

void emulate_group_product(float *d, int n, uint64_t a, uint64_t b, bool a_deep, bool b_deep)
{
    struct thread *t = &threads[threadIdx.x];
    assert(t->n_products < PRODUCTS);
    t->products[t->n_products++] = {d, n, t->group, a, b, a_deep, b_deep};
}

void group_commit(void)
{
    threads[threadIdx.x].group++;
}

void emulate_group_wait(int n)
{
    struct thread *t = &threads[threadIdx.x];
    int done = 0;
    while (done < t->n_products && t->products[done].group < t->group - n)
        product_now(&t->products[done++]);
    t->n_products -= done;
    memmove(t->products, t->products + done, (size_t)t->n_products * sizeof *t->products);
    __syncwarp(); /* a warp goes on when all of its lanes have what they waited for */
}

/* ---- maps ---- */

bool tensor_map_make(struct device *dev, tensor_map *m, const void *base, int64_t columns,
                     int64_t rows, int64_t pitch, int box_rows)
{
    (void)dev;
    assert((uintptr_t)base % 16 == 0 && pitch % 8 == 0 && columns > 0 && rows > 0 &&
           columns <= pitch && box_rows <= 256);
    *m = {(const uint16_t *)base, columns, rows, pitch, box_rows};
    return true;
}

bool tensor_maps_open(struct cuda_state *s)
{
    (void)s;
    return true;
}
#endif
