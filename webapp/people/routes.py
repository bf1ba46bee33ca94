"""All routes of this package but downloads."""

from webapp.people import (
    account_page,
    audit_log,
    dataset_access,
    first_password,
    group_pages,
    own_api,
    people_pages,
    sign_in,
    users_api,
)

routes = [
    *sign_in.routes,
    *first_password.routes,
    *account_page.routes,
    *people_pages.routes,
    *group_pages.routes,
    *dataset_access.routes,
    *audit_log.routes,
    *users_api.routes,
    *own_api.routes,
]
