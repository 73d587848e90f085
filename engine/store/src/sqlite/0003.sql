-- SPDX-License-Identifier: EUPL-1.2
-- What a person does about a cause, a mapping or a wrong value.

-- JSON of the origin: route, receiver, mapping, its hash and version.
ALTER TABLE work_item ADD COLUMN origin TEXT;
