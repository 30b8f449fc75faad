/* The list of commands, in the order of moe2 --help. One file cmd_NAME.c and one line here a command. */
COMMAND(doctor)
COMMAND(tokenize)
COMMAND(run)
COMMAND(train)
COMMAND(evaluate)
COMMAND(train_eval)
