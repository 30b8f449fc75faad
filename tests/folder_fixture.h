/* A folder of a test's own, empty when the test or the group of tests begins and gone when it has
 * ended: for cmocka's setup and teardown. Before it includes this, a test defines DIR, the folder's
 * name beneath the one that it runs in; tests run side by side, so that each has another.
 */
#ifndef MOE2_TESTS_FOLDER_FIXTURE_H
#define MOE2_TESTS_FOLDER_FIXTURE_H

#include "base/file.h"

static inline int setup(void **state)
{
    (void)state;
    file_remove_all(DIR, NULL);
    return dir_make(DIR, NULL);
}

static inline int teardown(void **state)
{
    (void)state;
    return file_remove_all(DIR, NULL);
}

#endif
