/*
 * row_type.h - what the columns of a row may hold, from the catalog.
 *
 * A *row type* is that of a table, or a named composite type. Of each column
 * that can be filled the catalog says what is legal: a closed set (an enum, a
 * boolean, CHECK (x IN (...)), a foreign key), or a pattern that every legal
 * text matches (numbers, dates), or nothing but a length. What a set or
 * pattern cannot say (a CHECK over two columns, a function) is asked of the
 * real cast and the real constraint when a value has been found (row_check.c).
 *
 *	row_type.c			columns, types, domains
 *	row_constraints.c	sets, bounds and expressions that CHECKs give
 *	row_patterns.c		types and bounds as patterns
 *	row_references.c	candidates of foreign keys
 *	row_keys.c			keys that only other rows can judge
 *	row_common.c		texts that are one of few
 *	row_priors.c		how common values are
 *	row_evidence.c		what the table's other rows say
 *	row_values.c		values as text and back
 *	row_check.c			casts and constraints, as the table's owner
 *	row_options.c		options of the row functions
 *	row_request.c		a row as a template with gaps
 *	row_result.c		gaps as a row; the next best where one is not legal
 */
#ifndef DLM_PG_ROW_TYPE_H
#define DLM_PG_ROW_TYPE_H

#include "access/tupdesc.h"
#include "fmgr.h"

#include "request.h"

/* Bounds of a column's values, as numbers; infinite where there are none. */
typedef struct DlmBounds
{
	double		low,
				high;
	int			least_chars,	/* of texts; 0 */
				most_chars;		/* -1: any */
} DlmBounds;

/* A legal value of a closed set. */
typedef struct DlmValue
{
	dlm_text	shown;			/* what the model reads and writes */
	char	   *input;			/* what the type's input function takes, in the server's encoding */
} DlmValue;

typedef struct DlmColumn
{
	AttrNumber	attnum;
	char	   *name;
	dlm_text	label;			/* before the colon: the name, with its comment where there is one */
	Oid			type;			/* as declared: may be a domain */
	int32		typmod;
	Oid			base;			/* without domains */
	int32		base_typmod;
	FmgrInfo	output;			/* of the base type */
	FmgrInfo	input;			/* of the declared type: of a domain, with its constraints */
	Oid			ioparam;
	bool		dropped,
				computed;		/* generated, or an identity: never filled */
	const char *unfillable;		/* why no value can be made, or NULL */
	/* what is legal */
	DlmValue   *values;			/* [n_values], NULL: not a closed set */
	int			n_values;
	uint64	   *codes;			/* [n_values] dlm_value_code of each input; where bias is known */
	double	   *bias;			/* [n_values] how common each is in the table; NULL: not known */
	char	   *pattern;		/* or NULL */
	char	  **excluded;		/* [n_excluded] inputs that a CHECK takes away, kept until there is a set */
	int			n_excluded;
	DlmBounds	bounds;
	int			max_tokens;		/* of a gap that is decoded */
	bool		common;			/* the set is what the table has of it (row_common.c) */
	/* how known values of a foreign key are shown: values[i].shown where values[i].input is the value */
	bool		by_reference;
} DlmColumn;

/*
 * A foreign key of several columns: each has candidates of its own, and the row must be one that is there. Or a unique
 * one of the row's own table, that no other row may have.
 */
typedef struct DlmRowKey
{
	char	   *name;			/* of the constraint or index */
	bool		unique;
	char	   *exists;			/* query that gives a row if there is one */
	int			n;				/* columns of the key: $1 .. $n */
	int			n_args;			/* with the primary key that tells another row from this one: $n + 1 .. $n_args */
	AttrNumber	attnum[2 * INDEX_MAX_KEYS];
} DlmRowKey;

typedef struct DlmRowType
{
	MemoryContext context;		/* of everything here */
	Oid			type;
	Oid			relid;			/* of the type; it may have constraints where it is a table's */
	Oid			owner;			/* its checks run as this role */
	bool		table;
	TupleDesc	desc;			/* a copy */
	DlmColumn  *columns;		/* [desc->natts] */
	struct ExprState **checks;	/* row_check.c: [n_checks] */
	int			n_checks;
	struct ExprState **generated;	/* [desc->natts], NULL: not a generated column; NULL: there is none */
	struct EState *estate;
	List	   *keys;			/* of DlmRowKey */
	double		rows;			/* that the table has, where its other rows are to be read for the gaps; else 0 */
	struct DlmEvidence *evidence;	/* row_evidence.c; NULL: not read */
} DlmRowType;

/*
 * Look a composite type up, in the CurrentMemoryContext. ERRORs: 42804 for an
 * anonymous record, and for a type that is no row.
 */
extern DlmRowType *dlm_row_type(Oid type, int32 typmod);

/* The column of this name; NULL if there is none. */
extern DlmColumn *dlm_row_column(const DlmRowType *t, const char *name);

/* -- row_priors.c -- */

/*
 * Read pg_stats of a column, as the current user sees it, into SPI_tuptable: `what` to SELECT, and `rows`, the end of the
 * query, which of its rows; one at most. False: there is none. Inside of SPI.
 */
extern bool dlm_column_statistics(const DlmRowType *t, const DlmColumn *c, const char *what, const char *rows);

/* -- row_constraints.c -- */

/* Take what an expression says of the column: x IN (...), bounds, length, x ~ '^...$'. What it does not understand is left. */
extern void dlm_column_learn(DlmColumn *c, Node *check, bool domain);

/* Take the excluded values out of the set, if there is one now. */
extern void dlm_column_exclude(DlmColumn *c);

/* -- row_patterns.c -- */

/* The pattern, or the longest gap, that the column's type and bounds leave; sets unfillable where there is none. */
extern void dlm_column_pattern(DlmColumn *c);

/* -- row_references.c -- */

/* Candidates of the column where it is a foreign key of its own, as the current user sees them. */
extern void dlm_column_reference(const DlmRowType *t, DlmColumn *c);

/* -- row_keys.c -- */

/* Foreign keys of several columns, and unique ones, as far as the current user may look rows up by them. */
extern void dlm_row_keys(DlmRowType *t);

/* -- row_values.c -- */

/* Dates, intervals and floats are written and read the same way in every session, until AtEOXact_GUC(true, what this returns). */
extern int	dlm_plain_formats(void);

/* The same for queries, whose operators and functions are PostgreSQL's too, whatever the session's search_path. */
extern int	dlm_plain_queries(void);

/* A number for what a value's text says, never 0: equal for texts of equal values. The type is no domain. */
extern uint64 dlm_value_code(Oid type, const char *text);

/* A value as such a text, and back; the type is no domain. */
extern char *dlm_value_output(FmgrInfo *output, Datum value);
extern Datum dlm_value_input(Oid type, const char *text);

/* Does reading a value of the type run no code but that of types that a superuser made? */
extern bool dlm_value_is_plain(Oid type);

/* "schema.table", quoted, of a table that there is. */
extern char *dlm_relation_name(Oid relid);

/*
 * SQL of a column as a value of the type, which is no domain. An operator beside it is found by this type alone: of a
 * domain's column another one might be nearer, that somebody has put into the operator's schema.
 */
extern char *dlm_plain_column(Oid type, const char *column);

/* "OPERATOR(schema.=)" of the type's own order, or "...>"; 42883 where it has none. */
extern char *dlm_operator(Oid type, bool equal);

#define DLM_CANDIDATES	DLM_MAX_CHOICES	/* of a foreign key */

#endif							/* DLM_PG_ROW_TYPE_H */
