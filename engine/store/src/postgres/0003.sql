-- SPDX-License-Identifier: EUPL-1.2
-- A processed submission lets pass what waited for it: by key first, so that each lane that waits is one step into the
-- index, however much waits in it.

DROP INDEX delivery_queued;
CREATE INDEX delivery_queued ON delivery (tenant, order_key, lane) WHERE queued;
