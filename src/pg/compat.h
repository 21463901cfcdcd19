/*
 * compat.h - differences between versions of PostgreSQL: the only file that
 * tests PG_VERSION_NUM.
 */
#ifndef DLM_COMPAT_H
#define DLM_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "dlm needs PostgreSQL 15 or later"
#endif

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
#else
#define dlm_server_aclcheck(server, role)	pg_foreign_server_aclcheck((server), (role), ACL_USAGE)
#define dlm_wrapper_aclcheck(wrapper, role) pg_foreign_data_wrapper_aclcheck((wrapper), (role), ACL_USAGE)
#define dlm_server_ownercheck(server, role)	pg_foreign_server_ownercheck((server), (role))
#endif

/* Names of wait events of extensions exist from 17 on; before, all are "Extension". `cache` is a static uint32, 0 at first. */
#if PG_VERSION_NUM >= 170000
#define dlm_wait_event(name, cache)	((cache) != 0 ? (cache) : ((cache) = WaitEventExtensionNew(name)))
#else
#define dlm_wait_event(name, cache)	((void) (cache), PG_WAIT_EXTENSION)
#endif

/* libpq/libpq.h declares it, but includes headers of Kerberos, which building an extension does not bring. */
extern bool pq_check_connection(void);

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
