/*
 * compat.h - differences between versions of PostgreSQL: the only file that
 * tests PG_VERSION_NUM.
 */
#ifndef DLM_COMPAT_H
#define DLM_COMPAT_H

#if PG_VERSION_NUM < 130000
#error "dlm needs PostgreSQL 13 or later"
#endif

/* ------------------------------------------------------------- before 14, 15 */

/* Wait events were cut out of pgstat.h, and indexes of catalogs put beside their catalogs, in 14. */
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#else
#include "catalog/indexing.h"
#include "pgstat.h"
#endif

/* Names and kinds that came in 14. The planner made no scan of this kind before; nothing but an extension numbered queries. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_ALL_STATS		DEFAULT_ROLE_READ_ALL_STATS
#define ROLE_PG_READ_SERVER_FILES	DEFAULT_ROLE_READ_SERVER_FILES
#define TYPTYPE_MULTIRANGE			'm'
#define T_TidRangeScan				T_Invalid
#define pgstat_get_my_query_id()	UINT64CONST(0)
#endif

/* There is no MERGE before 15: no query is of a kind that stands for it. */
#if PG_VERSION_NUM >= 150000
#define dlm_merge_actions(modify)	((modify)->mergeActionLists)
#else
#define CMD_MERGE					CMD_UNKNOWN
#define dlm_merge_actions(modify)	NIL
#endif

/* A ModifyTable had a plan for each of its tables before 14, from then on one for all, in the usual place. */
#if PG_VERSION_NUM >= 140000
#define dlm_modify_plans(modify)	NIL
#else
#define dlm_modify_plans(modify)	((modify)->plans)
#endif

/* A plan whose parent is no Append waits for what it asks for; asking ahead came in 14. */
#if PG_VERSION_NUM >= 140000
#define dlm_clear_async(plan)		((void) ((plan)->async_capable = false))
#else
#define dlm_clear_async(plan)		((void) (plan))
#endif

/* What ANALYZE counted of a partitioned table stands in its own entry from 14 on, before in those of its partitions. */
#if PG_VERSION_NUM >= 140000
#define dlm_table_rows(class)		((double) (class)->reltuples)
#else
struct FormData_pg_class;
extern double dlm_table_rows(const struct FormData_pg_class *class);
#endif

/* The parser has several grammars from 14 on. */
#if PG_VERSION_NUM >= 140000
#define dlm_raw_parser(string)		raw_parser((string), RAW_PARSE_DEFAULT)
#else
#define dlm_raw_parser(string)		raw_parser(string)
#endif

/* Before 14 a conversion raised an error where it now says how far it came. */
#if PG_VERSION_NUM < 140000
#define pg_do_encoding_conversion_buf	dlm_encoding_conversion_buf
extern int	dlm_encoding_conversion_buf(Oid proc, int from, int to, unsigned char *src, int len, unsigned char *out,
										int cap, bool no_error);
#endif

/* Tuplestores of set-returning functions: one call makes them from 15.1 on. */
#if PG_VERSION_NUM < 150001
struct FunctionCallInfoBaseData;
#define InitMaterializedSRF				dlm_init_materialized_srf
extern void dlm_init_materialized_srf(struct FunctionCallInfoBaseData *fcinfo, int flags);
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix)	EmitWarningsOnPlaceholders(prefix)
#endif

/* Shared memory is asked for in a hook from 15 on, before in _PG_init, where MaxBackends is not known yet. */
#if PG_VERSION_NUM >= 150000
#define dlm_on_shmem_request(function, previous) ((previous) = shmem_request_hook, shmem_request_hook = (function))
#define dlm_max_backends()				MaxBackends
#else
typedef void (*shmem_request_hook_type) (void);
#define dlm_on_shmem_request(function, previous) ((previous) = NULL, (function) ())
extern int	dlm_max_backends(void);
#endif

/*
 * Has the client gone? 14 and 15 each added a part. libpq/libpq.h declares it,
 * but includes headers of Kerberos, which building an extension does not bring.
 */
#if PG_VERSION_NUM < 150000
#define WaitEventSetCanReportClosed()	true
#endif
#if PG_VERSION_NUM < 140000
#define pq_check_connection				dlm_poll_connection
#endif
extern bool pq_check_connection(void);

/* ----------------------------------------------------------------- 16 to 18 */

/* varatt.h was cut out of postgres.h in 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Before 18 the attribute had another name and place; both compilers take it at the head of a declaration too. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* What prints properties of EXPLAIN was cut out of commands/explain.h in 18. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif

/* Errors of parsing a list of names can be soft from 16 on; NULL raises them. */
#if PG_VERSION_NUM >= 160000
#define dlm_qualified_name_list(string) stringToQualifiedNameList((string), NULL)
#else
#define dlm_qualified_name_list(string) stringToQualifiedNameList(string)
#endif

/* Rights are checked through one function for all kinds of objects from 16 on. */
#if PG_VERSION_NUM >= 160000
#define dlm_server_aclcheck(server, role)	object_aclcheck(ForeignServerRelationId, (server), (role), ACL_USAGE)
#define dlm_wrapper_aclcheck(wrapper, role) \
	object_aclcheck(ForeignDataWrapperRelationId, (wrapper), (role), ACL_USAGE)
#define dlm_server_ownercheck(server, role)	object_ownercheck(ForeignServerRelationId, (server), (role))
#define dlm_schema_aclcheck(schema, role)	object_aclcheck(NamespaceRelationId, (schema), (role), ACL_USAGE)
#else
#define dlm_server_aclcheck(server, role)	pg_foreign_server_aclcheck((server), (role), ACL_USAGE)
#define dlm_wrapper_aclcheck(wrapper, role) pg_foreign_data_wrapper_aclcheck((wrapper), (role), ACL_USAGE)
#define dlm_server_ownercheck(server, role)	pg_foreign_server_ownercheck((server), (role))
#define dlm_schema_aclcheck(schema, role)	pg_namespace_aclcheck((schema), (role), ACL_USAGE)
#endif

/* Names of wait events of extensions exist from 17 on; before, all are "Extension". `cache` is a static uint32, 0 at first. */
#if PG_VERSION_NUM >= 170000
#define dlm_wait_event(name, cache)	((cache) != 0 ? (cache) : ((cache) = WaitEventExtensionNew(name)))
#else
#define dlm_wait_event(name, cache)	((void) (cache), PG_WAIT_EXTENSION)
#endif

/* This backend's number, 0 .. MaxBackends - 1, and another's; the number of the transaction that it is in. */
#if PG_VERSION_NUM >= 170000
#define DLM_HAVE_DSM_REGISTRY 1
#define dlm_my_backend()	((int) MyProcNumber)
#define dlm_backend_of(proc)	((int) GetNumberFromPGProc(proc))
#define dlm_local_transaction(proc)	((proc)->vxid.lxid)
#else
#define dlm_my_backend()	((int) MyBackendId - 1)
#define dlm_backend_of(proc)	((int) (proc)->backendId - 1)
#define dlm_local_transaction(proc)	((proc)->lxid)
#endif

/* ExplainOnePlan takes the planner's memory too from 17 on; NULL leaves it out. */
#if PG_VERSION_NUM >= 170000
#define dlm_explain_one_plan(plan, into, es, string, params, env, duration, buffers) \
	ExplainOnePlan((plan), (into), (es), (string), (params), (env), (duration), (buffers), NULL)
#else
#define dlm_explain_one_plan(plan, into, es, string, params, env, duration, buffers) \
	ExplainOnePlan((plan), (into), (es), (string), (params), (env), (duration), (buffers))
#endif

#endif							/* DLM_COMPAT_H */
