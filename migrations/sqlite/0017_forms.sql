-- +goose Up
-- What a form said that made something, so that it is not taken for another one.
ALTER TABLE form_tokens ADD COLUMN content text NOT NULL DEFAULT "";

-- +goose Down
ALTER TABLE form_tokens DROP COLUMN content;
