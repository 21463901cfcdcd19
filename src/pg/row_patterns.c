/*
 * row_patterns.c - the texts that a column's type and bounds allow.
 *
 * Numbers between bounds are an expression over digits: 17 to 150 is
 * (1[7-9]|[2-9][0-9]|1[0-4][0-9]|150). Dates name days that exist in every
 * year. So nearly every text that matches is a value; the cast decides.
 */
#include "dlm_pg.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "encoding.h"
#include "row_type.h"

#define FEW_INTEGERS	20			/* a range of so many is a closed set */
#define FEW_CHARACTERS	12
#define TEXT_TOKENS		8			/* of a text column's gap, unless told otherwise */
#define MOST_DIGITS		12			/* before the point of a numeric */
#define MOST_INTEGER	999999999999999.0	/* of a bigint: bounds are kept as float8, which holds these exactly */

/* ----------------------------------------------------------------- integers */

static void
any_digits(StringInfo out, int n)
{
	if (n > 0)
		appendStringInfo(out, n == 1 ? "[0-9]" : "[0-9]{%d}", n);
}

static bool
all_are(const char *digits, int n, char digit)
{
	for (int i = 0; i < n; i++)
	{
		if (digits[i] != digit)
			return false;
	}
	return true;
}

/* Numbers of n digits from low to high, both of n digits, low <= high. */
static void
same_length(StringInfo out, const char *low, const char *high, int n)
{
	static const char nines[] = "99999999999999999999";
	static const char zeros[] = "00000000000000000000";
	const char *bar = "";

	if (all_are(low, n, '0') && all_are(high, n, '9'))
	{
		any_digits(out, n);
		return;
	}
	if (low[0] == high[0])
	{
		appendStringInfoChar(out, low[0]);
		if (n > 1)
			same_length(out, low + 1, high + 1, n - 1);
		return;
	}
	appendStringInfoChar(out, '(');
	if (!all_are(low + 1, n - 1, '0'))
	{
		appendStringInfoChar(out, low[0]);
		same_length(out, low + 1, nines, n - 1);
		low = psprintf("%c%.*s", low[0] + 1, n - 1, zeros);
		bar = "|";
	}
	if (!all_are(high + 1, n - 1, '9'))
	{
		appendStringInfo(out, "%s%c", bar, high[0]);
		same_length(out, zeros, high + 1, n - 1);
		high = psprintf("%c%.*s", high[0] - 1, n - 1, nines);
		bar = "|";
	}
	if (low[0] <= high[0])
	{
		appendStringInfo(out, low[0] == high[0] ? "%s%c" : "%s[%c-%c]", bar, low[0], high[0]);
		any_digits(out, n - 1);
	}
	appendStringInfoChar(out, ')');
}

/* Whole numbers from low to high, 0 <= low <= high, without leading zeros. */
static void
whole_numbers(StringInfo out, int64 low, int64 high)
{
	const char *bar = "";

	appendStringInfoChar(out, '(');
	while (low <= high)
	{
		char	   *first = psprintf(INT64_FORMAT, low);
		int			n = strlen(first);
		int64		last = 9;

		for (int i = 1; i < n; i++)
			last = last * 10 + 9;
		last = Min(last, high);
		appendStringInfoString(out, bar);
		same_length(out, first, psprintf(INT64_FORMAT, last), n);
		bar = "|";
		low = last + 1;
	}
	appendStringInfoChar(out, ')');
}

/* ... from low to high of any sign. */
static void
signed_numbers(StringInfo out, int64 low, int64 high)
{
	if (low >= 0)
		whole_numbers(out, low, high);
	else
	{
		appendStringInfoString(out, "(-");
		whole_numbers(out, Max(1, -Min(high, -1)), -low);
		if (high >= 0)
		{
			appendStringInfoChar(out, '|');
			whole_numbers(out, 0, high);
		}
		appendStringInfoChar(out, ')');
	}
}

static int
digits_of(int64 value)
{
	return strlen(psprintf(INT64_FORMAT, value));
}

static void
set_integer(DlmColumn *c, double type_low, double type_high)
{
	StringInfoData out;
	int64		low = (int64) ceil(Max(c->bounds.low, type_low));
	int64		high = (int64) floor(Min(c->bounds.high, type_high));

	if (low > high)
	{
		c->unfillable = "its constraints leave no value";
		return;
	}
	if (high - low < FEW_INTEGERS)
	{
		c->n_values = (int) (high - low) + 1;
		c->values = palloc(c->n_values * sizeof(DlmValue));
		for (int i = 0; i < c->n_values; i++)
		{
			c->values[i].input = psprintf(INT64_FORMAT, low + i);
			c->values[i].shown = dlm_text_from_server(c->values[i].input, strlen(c->values[i].input));
		}
		return;
	}
	c->bounds.low = low;
	c->bounds.high = high;
	initStringInfo(&out);
	signed_numbers(&out, low, high);
	c->pattern = out.data;
	c->max_tokens = Max(digits_of(low), digits_of(high));
}

/* ----------------------------------------------------------------- fractions */

/* whole digits, a point, and up to `scale` digits behind it. */
static void
set_fraction(DlmColumn *c, int whole_digits, int scale)
{
	StringInfoData out;
	double		most = pow(10, Min(whole_digits, MOST_DIGITS)) - 1;
	int64		high = (int64) floor(Min(Max(fabs(c->bounds.low), fabs(c->bounds.high)), most));
	int64		low = c->bounds.low > 0 ? (int64) floor(Min(c->bounds.low, most)) : 0;

	if (c->bounds.low > c->bounds.high)
	{
		c->unfillable = "its constraints leave no value";
		return;
	}
	initStringInfo(&out);
	if (c->bounds.low < 0)
		appendStringInfoString(&out, c->bounds.high <= 0 ? "-" : "-?");
	whole_numbers(&out, Min(low, high), high);
	if (scale > 0)
		appendStringInfo(&out, "(\\.[0-9]{1,%d})?", scale);
	c->pattern = out.data;
	c->max_tokens = digits_of(high) + 2 + scale;
}

static void
set_numeric(DlmColumn *c)
{
	int			precision = 12,
				scale = 4;

	if (c->base_typmod >= (int32) VARHDRSZ)
	{
		precision = ((c->base_typmod - VARHDRSZ) >> 16) & 0xffff;
		scale = (((c->base_typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	}
	if (scale <= 0)
		scale = 0;
	set_fraction(c, Max(precision - scale, 1), Min(scale, 6));
}

/* -------------------------------------------------------------------- times */

#define DAYS	"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define CLOCK	"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"

static void
set_time(DlmColumn *c, bool date, bool clock)
{
	StringInfoData out;

	initStringInfo(&out);
	if (date)
	{
		int64		low = (int64) Min(Max(c->bounds.low, 1000), 9999);
		int64		high = (int64) Min(Max(c->bounds.high, 1000), 2999);

		if (low > high)
		{
			c->unfillable = "its constraints leave no value";
			return;
		}
		whole_numbers(&out, low, high);
		appendStringInfoString(&out, "-" DAYS);
	}
	if (date && clock)
		appendStringInfoChar(&out, ' ');
	if (clock)
		appendStringInfoString(&out, CLOCK);
	c->pattern = out.data;
	c->max_tokens = (date ? 10 : 0) + (clock ? 8 : 0) + (date && clock);
}

/* -------------------------------------------------------------------- texts */

/* n hexadecimal digits */
#define HEX(n)	"[0-9a-f]{" #n "}"
#define BYTE	"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"

static void
set_pattern(DlmColumn *c, const char *pattern, int max_tokens)
{
	c->pattern = pstrdup(pattern);
	c->max_tokens = max_tokens;
}

/* A text: decoded freely, or by the pattern that a CHECK gave. */
static void
set_text(DlmColumn *c)
{
	if ((c->base == VARCHAROID || c->base == BPCHAROID) && c->base_typmod >= (int32) VARHDRSZ)
		c->bounds.most_chars = c->bounds.most_chars < 0 ? c->base_typmod - VARHDRSZ :
			Min(c->bounds.most_chars, c->base_typmod - VARHDRSZ);
	if (c->base == NAMEOID || c->base == CHAROID)
		c->bounds.most_chars = c->base == CHAROID ? 1 : NAMEDATALEN - 1;
	if (c->bounds.most_chars == 0 || (c->bounds.most_chars > 0 && c->bounds.least_chars > c->bounds.most_chars))
	{
		c->unfillable = "its constraints leave no value";
		return;
	}
	/* few characters are counted by the pattern; of more, the cast says whether they were too many */
	if (c->pattern == NULL && c->bounds.most_chars > 0 && c->bounds.most_chars <= FEW_CHARACTERS)
		c->pattern = psprintf(".{%d,%d}", Max(c->bounds.least_chars, 1), c->bounds.most_chars);
	c->max_tokens = c->pattern ? 2 * TEXT_TOKENS : TEXT_TOKENS;
	if (c->bounds.most_chars > 0)
		c->max_tokens = Min(c->max_tokens, c->bounds.most_chars);
}

/* Types that are neither numbers, times nor texts. */
static void
set_other(DlmColumn *c)
{
	switch (c->base)
	{
		case UUIDOID:
			set_pattern(c, HEX(8) "-" HEX(4) "-" HEX(4) "-" HEX(4) "-" HEX(12), 36);
			break;
		case INETOID:
			set_pattern(c, BYTE "\\." BYTE "\\." BYTE "\\." BYTE, 15);
			break;
		case CIDROID:
			set_pattern(c, BYTE "\\." BYTE "\\." BYTE "\\.0/24", 16);
			break;
		case MACADDROID:
			set_pattern(c, HEX(2) "(:" HEX(2) "){5}", 17);
			break;
		case MACADDR8OID:
			set_pattern(c, HEX(2) "(:" HEX(2) "){7}", 23);
			break;
		case LSNOID:
			set_pattern(c, "[0-9A-F]{1,2}/[0-9A-F]{1,7}", 10);
			break;
		case INTERVALOID:
			set_pattern(c, "(1 (minute|hour|day|week|month|year)|([2-9]|[1-9][0-9]{1,2}) (minutes|hours|days|weeks|months|years))", 6);
			break;
		case CASHOID:
			set_fraction(c, 9, 2);
			break;
		case BITOID:
		case VARBITOID:
			if (c->base_typmod > 64 || (c->base_typmod < 1 && c->base == BITOID))
				c->unfillable = "it has too many bits";
			else
				set_pattern(c, c->base == BITOID ? psprintf("[01]{%d}", c->base_typmod) :
							psprintf("[01]{1,%d}", c->base_typmod < 1 ? 16 : c->base_typmod), c->base_typmod < 1 ? 16 : c->base_typmod);
			break;
		default:
			c->unfillable = psprintf("values of type %s cannot be made", format_type_be(c->base));
	}
}

void
dlm_column_pattern(DlmColumn *c)
{
	char		category;
	bool		preferred;

	switch (c->base)
	{
		case INT2OID:
			set_integer(c, -32768, 32767);
			return;
		case INT4OID:
			set_integer(c, -2147483648.0, 2147483647);
			return;
		case INT8OID:
			set_integer(c, -MOST_INTEGER, MOST_INTEGER);
			return;
		case OIDOID:
			set_integer(c, 0, 4294967295.0);
			return;
		case FLOAT4OID:
		case FLOAT8OID:
			set_fraction(c, 9, 4);
			return;
		case NUMERICOID:
			set_numeric(c);
			return;
		case DATEOID:
			set_time(c, true, false);
			return;
		case TIMEOID:
		case TIMETZOID:
			set_time(c, false, true);
			return;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			set_time(c, true, true);
			return;
	}
	get_type_category_preferred(c->base, &category, &preferred);
	if (category == TYPCATEGORY_STRING || c->base == NAMEOID || c->base == CHAROID)
		set_text(c);
	else
		set_other(c);
}
