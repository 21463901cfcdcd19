/*
 * rights.c - see rights.h.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "rights.h"

Oid
dlm_role_of_code(Oid owner)
{
	Oid			user = GetUserId();

	return has_privs_of_role(user, owner) && !has_privs_of_role(owner, user) ? owner : user;
}

bool
dlm_column_right(Oid table, AttrNumber attnum, Oid role, AclMode right)
{
	return pg_class_aclcheck(table, role, right) == ACLCHECK_OK || pg_attribute_aclcheck(table, attnum, role, right) == ACLCHECK_OK;
}
