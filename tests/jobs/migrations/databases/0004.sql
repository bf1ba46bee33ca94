CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE public.data_people (
    _upload_id bigint NOT NULL,
    _row_number bigint NOT NULL,
    id bigint NOT NULL,
    name text,
    email text,
    height double precision,
    paid boolean,
    born date,
    seen timestamp with time zone,
    wakes time without time zone
);

CREATE SEQUENCE public.data_people_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.data_people_id_seq OWNED BY public.data_people.id;

CREATE TABLE public.data_sales_a (
    _upload_id bigint NOT NULL,
    _row_number bigint NOT NULL,
    day date,
    amount text,
    note text
);

CREATE TABLE public.datasets (
    name text NOT NULL,
    schema json NOT NULL,
    mode text NOT NULL,
    upload_id bigint,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.failed_rows (
    upload_id bigint NOT NULL,
    row_number bigint NOT NULL,
    cells json NOT NULL,
    reasons json NOT NULL
);

CREATE TABLE public.failure_counts (
    upload_id bigint NOT NULL,
    "column" text NOT NULL,
    rule text NOT NULL,
    rows bigint NOT NULL
);

CREATE TABLE public.idempotency_keys (
    key text NOT NULL,
    body text NOT NULL,
    status integer NOT NULL,
    answer json NOT NULL,
    created_at timestamp with time zone NOT NULL
);

CREATE TABLE public.uploads (
    id bigint NOT NULL,
    seq bigint NOT NULL,
    attempt integer NOT NULL,
    attempts_without_progress integer NOT NULL,
    status text NOT NULL,
    filename text NOT NULL,
    dataset_wanted text NOT NULL,
    dataset text,
    options json NOT NULL,
    parent bigint,
    duplicate_of bigint,
    header json,
    stored_as text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    next_byte bigint NOT NULL,
    bytes_total bigint,
    rows_total bigint,
    rows_processed bigint NOT NULL,
    rows_success bigint NOT NULL,
    rows_failed bigint NOT NULL,
    error text,
    notes json NOT NULL,
    worker text,
    lease_until timestamp with time zone,
    counting_since timestamp with time zone,
    counting_from bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    updated_at timestamp with time zone NOT NULL,
    processor text DEFAULT 'worker'::text NOT NULL,
    progress_reported integer,
    silent_since timestamp with time zone,
    search_text text DEFAULT ''::text NOT NULL
);

CREATE SEQUENCE public.uploads_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE public.uploads_id_seq OWNED BY public.uploads.id;

ALTER TABLE ONLY public.data_people ALTER COLUMN id SET DEFAULT nextval('public.data_people_id_seq'::regclass);

ALTER TABLE ONLY public.uploads ALTER COLUMN id SET DEFAULT nextval('public.uploads_id_seq'::regclass);

INSERT INTO public.alembic_version VALUES ('0004');

INSERT INTO public.data_people VALUES (1, 1, 1, 'Zoë', 'zoe@example.org', 1.75, true, '1999-12-31', '2026-01-30 23:59:59.25+00', '06:30:00');
INSERT INTO public.data_people VALUES (1, 2, 2, 'Ann "A" Lee', NULL, -0.5, false, '2000-02-29', NULL, NULL);
INSERT INTO public.data_people VALUES (1, 3, 5, '名前', NULL, 1e+300, NULL, '0001-01-01', '0001-01-01 00:00:00+00', '23:59:59');

INSERT INTO public.data_sales_a VALUES (2, 1, '2026-01-01', '12,50', '=SUM(A1)');
INSERT INTO public.data_sales_a VALUES (2, 2, '2026-01-02', '-3,00', NULL);

INSERT INTO public.datasets VALUES ('people', '{"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string", "constraints": {"required": true, "maxLength": 20}}, {"name": "email", "type": "string", "constraints": {"unique": true}}, {"name": "height", "type": "number"}, {"name": "paid", "type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]}, {"name": "born", "type": "date", "format": "%d.%m.%Y"}, {"name": "seen", "type": "datetime"}, {"name": "wakes", "type": "time"}], "missingValues": ["", "n/a"], "primaryKey": ["id"]}', 'upsert', NULL, '2026-01-31 09:00:00+00');
INSERT INTO public.datasets VALUES ('sales_a', '{"fields": [{"name": "day", "type": "date", "description": "each of 2 values is a date like 2026-01-31"}, {"name": "amount", "type": "string", "description": "text: no other type fits all 2 values"}, {"name": "note", "type": "string", "description": "text: no other type fits all 1 values; 1 cell is empty"}]}', 'insert', 2, '2026-01-31 09:00:00+00');

INSERT INTO public.failed_rows VALUES (1, 4, '["3", "", "cid@example.org", "tall", "", "", "", ""]', '[["name", "is required", null, null], ["height", "is not a number", "tall", null]]');
INSERT INTO public.failed_rows VALUES (1, 5, '["4", "Dan", "zoe@example.org", "", "", "", "", ""]', '[["email", "is in an earlier row", "zoe@example.org", null]]');
INSERT INTO public.failed_rows VALUES (3, 1, '["3", ""]', '[["name", "is required", null, null]]');

INSERT INTO public.failure_counts VALUES (1, 'email', 'is in an earlier row', 1);
INSERT INTO public.failure_counts VALUES (1, 'height', 'is not a number', 1);
INSERT INTO public.failure_counts VALUES (1, 'name', 'is required', 1);
INSERT INTO public.failure_counts VALUES (3, 'name', 'is required', 1);

INSERT INTO public.idempotency_keys VALUES ('key-1', 'bf3ce686235cd29fc21c8e81f91fec46ca6c89fe534a38496de3d022ecd4e0e5', 201, '{"id": 7, "name": "Zo\u00eb"}', '2026-01-31 09:00:00+00');

INSERT INTO public.uploads VALUES (1, 8, 1, 0, 'completed', 'people.csv', '', 'people', '{}', NULL, NULL, '["id", "name", "email", "height", "paid", "born", "seen", "wakes"]', '00000000000000000000000000000001', 228, '816c9d2ac91fb6586ee2576e735c2f27f375ff628c59dcdf5675ee97690bb060', 228, 228, 5, 5, 3, 2, NULL, '["Read as UTF-8."]', NULL, NULL, '2026-01-31 09:01:02.001+00', 0, '2026-01-31 09:01:00.001+00', '2026-01-31 09:01:01.001+00', '2026-01-31 09:01:04.001+00', '2026-01-31 09:01:06.001+00', 'worker', NULL, NULL, 'people.csv
people');
INSERT INTO public.uploads VALUES (2, 8, 1, 0, 'completed', 'Sales Ä.csv', '', 'sales_a', '{"delimiter": ";", "header_row": 1}', NULL, NULL, '["day", "amount", "note"]', '00000000000000000000000000000002', 60, 'c1f729302fd53dab14c10e236fd68043e22887068e75734e29b82cbc4293fff3', 60, 60, 2, 2, 2, 0, NULL, '["Read as UTF-8."]', NULL, NULL, '2026-01-31 09:02:02.002+00', 0, '2026-01-31 09:02:00.002+00', '2026-01-31 09:02:01.002+00', '2026-01-31 09:02:04.002+00', '2026-01-31 09:02:06.002+00', 'worker', NULL, NULL, 'sales ä.csv
sales_a');
INSERT INTO public.uploads VALUES (3, 5, 1, 0, 'completed', 'failed-rows.csv', '', 'people', '{}', 1, NULL, '["id", "name"]', '00000000000000000000000000000003', 8, '0000000000000000000000000000000000000000000000000000000000000003', 20, 20, 2, 2, 1, 1, NULL, '["Read as UTF-8."]', NULL, NULL, '2026-01-31 09:03:02.003+00', 0, '2026-01-31 09:03:00.003+00', '2026-01-31 09:03:01.003+00', '2026-01-31 09:03:04.003+00', '2026-01-31 09:03:06.003+00', 'worker', NULL, NULL, 'failed-rows.csv
people');
INSERT INTO public.uploads VALUES (4, 2, 0, 0, 'cancelled', 'people again.csv', '', 'people', '{}', NULL, 1, NULL, '00000000000000000000000000000004', 228, '816c9d2ac91fb6586ee2576e735c2f27f375ff628c59dcdf5675ee97690bb060', 0, NULL, NULL, 0, 0, 0, 'This is a duplicate of #1.', '[]', NULL, NULL, NULL, 0, '2026-01-31 09:04:00.004+00', NULL, '2026-01-31 09:04:04.004+00', '2026-01-31 09:04:06.004+00', 'worker', NULL, NULL, 'people again.csv
people');
INSERT INTO public.uploads VALUES (5, 9, 3, 1, 'failed', 'picture.png', 'pictures', NULL, '{}', NULL, NULL, NULL, '00000000000000000000000000000005', 8, '0000000000000000000000000000000000000000000000000000000000000005', 0, NULL, NULL, 0, 0, 0, 'This is a picture.', '[]', NULL, NULL, '2026-01-31 09:05:02.005+00', 0, '2026-01-31 09:05:00.005+00', '2026-01-31 09:05:01.005+00', '2026-01-31 09:05:04.005+00', '2026-01-31 09:05:06.005+00', 'worker', NULL, NULL, 'picture.png
');
INSERT INTO public.uploads VALUES (6, 4, 1, 0, 'processing', 'half.csv', 'half', 'people', '{}', NULL, NULL, '["a"]', '00000000000000000000000000000006', 20, '0000000000000000000000000000000000000000000000000000000000000006', 12, 20, NULL, 1, 1, 0, NULL, '[]', 'old:1', '2026-01-31 09:06:03.006+00', '2026-01-31 09:06:02.006+00', 0, '2026-01-31 09:06:00.006+00', '2026-01-31 09:06:01.006+00', NULL, '2026-01-31 09:06:06.006+00', 'worker', NULL, NULL, 'half.csv
people');
INSERT INTO public.uploads VALUES (7, 1, 0, 0, 'pending', 'july.csv', '', 'people', '{"encoding": "cp1252", "delimiter": ";", "header_row": 2}', NULL, NULL, NULL, '00000000000000000000000000000007', 64, '0000000000000000000000000000000000000000000000000000000000000007', 0, NULL, NULL, 0, 0, 0, NULL, '[]', NULL, NULL, NULL, 0, '2026-01-31 09:07:00.007+00', NULL, NULL, '2026-01-31 09:07:06.007+00', 'worker', NULL, NULL, 'july.csv
people');
INSERT INTO public.uploads VALUES (8, 2, 1, 0, 'processing', 'remote.csv', '', NULL, '{}', NULL, NULL, NULL, '', 0, '', 0, NULL, 100, 40, 30, 10, NULL, '[]', NULL, NULL, '2026-01-31 09:08:02.008+00', 40, '2026-01-31 09:08:00.008+00', '2026-01-31 09:08:01.008+00', NULL, '2026-01-31 09:08:06.008+00', 'external', 40, '2026-01-31 09:08:05.008+00', 'remote.csv
');
INSERT INTO public.uploads VALUES (9, 2, 1, 0, 'failed', 'remote.csv', '', NULL, '{}', NULL, NULL, NULL, '', 0, '', 0, NULL, 100, 40, 30, 10, 'The disk is full.', '[]', NULL, NULL, '2026-01-31 09:09:02.009+00', 40, '2026-01-31 09:09:00.009+00', '2026-01-31 09:09:01.009+00', '2026-01-31 09:09:04.009+00', '2026-01-31 09:09:06.009+00', 'external', 40, NULL, 'remote.csv
');

SELECT pg_catalog.setval('public.data_people_id_seq', 1, false);

SELECT pg_catalog.setval('public.uploads_id_seq', 9, true);

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY public.data_people
    ADD CONSTRAINT data_people_email_key UNIQUE (email);

ALTER TABLE ONLY public.data_people
    ADD CONSTRAINT data_people_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.data_sales_a
    ADD CONSTRAINT data_sales_a_pkey PRIMARY KEY (_upload_id, _row_number);

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT datasets_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.failed_rows
    ADD CONSTRAINT failed_rows_pkey PRIMARY KEY (upload_id, row_number);

ALTER TABLE ONLY public.failure_counts
    ADD CONSTRAINT failure_counts_pkey PRIMARY KEY (upload_id, "column", rule);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key);

ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_pkey PRIMARY KEY (id);

CREATE INDEX idempotency_keys_created_at ON public.idempotency_keys USING btree (created_at);

CREATE INDEX uploads_dataset ON public.uploads USING btree (dataset);

CREATE INDEX uploads_sha256 ON public.uploads USING btree (sha256);

CREATE INDEX uploads_status ON public.uploads USING btree (status);

CREATE INDEX uploads_updated_at ON public.uploads USING btree (updated_at);

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT datasets_upload_id_fkey FOREIGN KEY (upload_id) REFERENCES public.uploads(id);

ALTER TABLE ONLY public.failed_rows
    ADD CONSTRAINT failed_rows_upload_id_fkey FOREIGN KEY (upload_id) REFERENCES public.uploads(id);

ALTER TABLE ONLY public.failure_counts
    ADD CONSTRAINT failure_counts_upload_id_fkey FOREIGN KEY (upload_id) REFERENCES public.uploads(id);

ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_duplicate_of_fkey FOREIGN KEY (duplicate_of) REFERENCES public.uploads(id);

ALTER TABLE ONLY public.uploads
    ADD CONSTRAINT uploads_parent_fkey FOREIGN KEY (parent) REFERENCES public.uploads(id);
