/* Heat maps: cells as rectangles whose colours are computed here, so that every terminal shows the same ones. One hue from pale to dark,
 * or two hues that meet in a neutral grey at a middle value (a fair share); both keep their order in grey print. */
#include <math.h>
#include <stdio.h>

#include "report/axis.h"
#include "report/chart_script.h"

/* The colour at t in [0, 1] between stops, each 0xRRGGBB. */
static unsigned blend(const unsigned *stops, int n, double t)
{
    double at = fmin(fmax(t, 0), 1) * (n - 1);
    int i = (int)at < n - 1 ? (int)at : n - 2;
    double f = at - i;
    unsigned color = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        double a = (stops[i] >> shift) & 255, b = (stops[i + 1] >> shift) & 255;
        color |= (unsigned)lround(a + (b - a) * f) << shift;
    }
    return color;
}

struct scale {
    double low, middle, high;
};

static unsigned scale_color(const struct scale *k, double v)
{
    static const unsigned one_hue[] = {0xF1F4F8, 0xB7D0E6, 0x5A9BC9, 0x1D68A6, 0x0A3360};
    static const unsigned two_hues[] = {0x0F4C81, 0x6CA6D0, 0xF4F4F2, 0xEFA268, 0xA63F00};
    if (isnan(k->middle))
        return blend(one_hue, 5, (v - k->low) / (k->high - k->low));
    double t = v < k->middle ? (v - k->low) / (k->middle - k->low) / 2
                             : 0.5 + (v - k->middle) / (k->high - k->middle) / 2;
    return blend(two_hues, 5, t);
}

static struct scale heat_scale(const struct chart *c)
{
    struct scale k = {c->low, c->middle, c->high};
    if (!(k.low < k.high)) {
        k.low = INFINITY;
        k.high = -INFINITY;
        for (int i = 0; i < c->n_cell_rows * c->n_cell_columns; i++)
            if (isfinite(c->cells[i])) {
                k.low = fmin(k.low, c->cells[i]);
                k.high = fmax(k.high, c->cells[i]);
            }
        if (!isfinite(k.low))
            k = (struct scale){0, c->middle, 1};
        if (k.high - k.low < 1e-12)
            k.high = k.low + 1;
    }
    if (!isnan(k.middle)) { /* the neutral value must lie inside */
        double reach = 1e-9 + 1e-3 * fabs(k.middle);
        k.low = fmin(k.low, k.middle - reach);
        k.high = fmax(k.high, k.middle + reach);
    }
    return k;
}

void script_heat_data(struct script *s, const struct chart *c, int panel)
{
    struct scale k = heat_scale(c);
    const double half = 0.47; /* the gap between cells keeps renderers from blending their edges */
    script_put(s, "$cells%d << EOD\n", panel);
    for (int r = 0; r < c->n_cell_rows; r++)
        for (int e = 0; e < c->n_cell_columns; e++) {
            double v = c->cells[r * c->n_cell_columns + e];
            if (isfinite(v))
                script_put(s, "%d %d %.2f %.2f %.2f %.2f %u\n", e, -r, e - half, e + half,
                           -r - half, -r + half, scale_color(&k, v));
        }
    script_put(s, "EOD\n");
}

/* ---- the panel ---- */

static void put_color_bar(struct script *s, const struct chart *c, const struct box *b)
{
    enum { STEPS = 48 };
    struct scale k = heat_scale(c);
    struct axis a = {.low = k.low, .high = k.high, .n_ticks = 1};
    double left = b->right + 12, right = left + 11, height = b->bottom - b->top;
    for (int i = 0; i < STEPS; i++) {
        double v = k.low + (k.high - k.low) * (i + 0.5) / STEPS;
        script_put(s,
                   "set object %d rect from screen %.5f, screen %.5f to screen %.5f, screen %.5f "
                   "fs solid noborder fc rgb '#%06X' behind\n",
                   i + 1, script_x(s, left), script_y(s, b->bottom - height * i / STEPS),
                   script_x(s, right), script_y(s, b->bottom - height * (i + 1.1) / STEPS),
                   scale_color(&k, v));
    }
    double at[3] = {k.low, isnan(k.middle) ? NAN : k.middle, k.high};
    for (int i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof text, "%.3g", at[i]);
        double place = axis_place(&a, at[i]);
        bool crowded =
            i == 1 && (place * height < CHART_LINE_PX || (1 - place) * height < CHART_LINE_PX);
        if (!isnan(at[i]) && !crowded)
            script_label(s, text, right + 5, b->bottom - place * height, "left", CHART_MUTED_COLOR);
    }
    script_title(s, c->value_title, right + 50, (b->top + b->bottom) / 2, "center rotate by 90",
                 CHART_MUTED_COLOR);
}

void script_heat(struct script *s, const struct chart *c, int panel, const struct box *cell)
{
    char text[32];
    double names = 3 * CHART_CHAR_PX, widest = CHART_CHAR_PX;
    for (int r = 0; c->row_names && r < c->n_cell_rows; r++)
        names = fmax(names, script_name_px(c->row_names[r]));
    for (int e = 0; c->column_names && e < c->n_cell_columns; e++)
        widest = fmax(widest, script_name_px(c->column_names[e]));
    if (!c->column_names)
        widest = CHART_CHAR_PX * snprintf(text, sizeof text, "%d", c->n_cell_columns - 1);
    struct box b = {cell->left + names + 12 + (c->y_title ? 20 : 0),
                    cell->right - (c->value_title ? 88 : 12), cell->top + (c->title ? 22 : 8),
                    cell->bottom - (c->x_title ? 50 : 26)};
    script_frame(s, c, &b);
    if (c->y_title)
        script_title(s, c->y_title, cell->left + 10, (b.top + b.bottom) / 2, "center rotate by 90",
                     CHART_MUTED_COLOR);
    double step_y = (b.bottom - b.top) / c->n_cell_rows;
    double step_x = (b.right - b.left) / c->n_cell_columns;
    int every_y = (int)ceil(CHART_LINE_PX / step_y - 1e-9),
        every_x = (int)ceil((widest + 6) / step_x);
    for (int r = 0; r<c->n_cell_rows; r += every_y> 1 ? every_y : 1) {
        snprintf(text, sizeof text, "%d", r);
        script_label(s, c->row_names ? c->row_names[r] : text, b.left - 7,
                     b.top + (r + 0.5) * step_y, "right", CHART_INK_COLOR);
    }
    for (int e = 0; e<c->n_cell_columns; e += every_x> 1 ? every_x : 1) {
        snprintf(text, sizeof text, "%d", e);
        script_label(s, c->column_names ? c->column_names[e] : text, b.left + (e + 0.5) * step_x,
                     b.bottom + 13, "center", CHART_MUTED_COLOR);
    }
    if (c->value_title)
        put_color_bar(s, c, &b);
    script_put(s, "unset border\nset xrange [-0.5:%d.5]\nset yrange [%.1f:0.5]\n",
               c->n_cell_columns - 1, 0.5 - c->n_cell_rows);
    bool any = false;
    for (int i = 0; i < c->n_cell_rows * c->n_cell_columns; i++)
        any = any || isfinite(c->cells[i]);
    if (any)
        script_put(s,
                   "plot $cells%d using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 noborder "
                   "lc rgb variable notitle\n",
                   panel);
    else
        script_put(s, "plot NaN notitle\n");
}
