// Prints what three foreign tools call an error in an OpenAPI document, one a
// line, and exits with 1 if there is any: node lint.mjs FILE
import { readFile } from 'node:fs/promises';
import swaggerParser from '@apidevtools/swagger-parser';
import redocly from '@redocly/openapi-core';
import spectralCore from '@stoplight/spectral-core';
import parsers from '@stoplight/spectral-parsers';
import rulesets from '@stoplight/spectral-rulesets';

const file = process.argv[2];
const errors = [];

const config = await redocly.createConfig({ extends: ['recommended'] });
for (const p of await redocly.lint({ ref: file, config })) {
  // An example that does not fit its schema is a warning by default.
  if (p.severity === 'error' || p.ruleId === 'no-invalid-media-type-examples') {
    errors.push(`redocly: ${p.ruleId}: ${p.message} ${p.location[0]?.pointer}`);
  }
}

const spectral = new spectralCore.Spectral();
spectral.setRuleset({ extends: [rulesets.oas] });
const text = await readFile(file, 'utf8');
for (const p of await spectral.run(new spectralCore.Document(text, parsers.Yaml, file))) {
  if (p.severity === 0) {
    errors.push(`spectral: ${p.code}: ${p.message} ${p.path.join('/')}`);
  }
}

await swaggerParser.validate(file).catch((e) => errors.push(`swagger-parser: ${e.message}`));

for (const e of errors) console.log(e);
process.exit(errors.length > 0 ? 1 : 0);
