-- Figures of answers: texts beside references, probabilities beside what was right.
SELECT round(dlm_chrf('the cat sat on the mat', 'the cat sat on the mat')::numeric, 3) AS equal,
	round(dlm_chrf('the cat', 'a dog barked')::numeric, 3) AS other,
	round(dlm_chrf('', 'a dog')::numeric, 3) AS nothing,
	dlm_chrf(NULL, 'x') IS NULL AS "null";
SELECT round(dlm_rouge_l('The cat sat.', 'the cat sat')::numeric, 3) AS equal,
	round(dlm_rouge_l('the cat sat on the mat', 'the dog sat on a mat')::numeric, 3) AS four_of_six,
	round(dlm_rouge_l('yes', 'no')::numeric, 3) AS other;
-- by hand: 0.9 once right, once wrong (a distance of 0.4 twice), 0.55 right (0.45): 1.25 / 3
SELECT round(dlm_calibration_error(p, r)::numeric, 4) FROM (VALUES (0.9, true), (0.9, false), (0.55, true)) AS t(p, r);
SELECT dlm_calibration_error(p, r) FROM (VALUES (1.0, true), (0.0, false), (NULL, true), (0.3, NULL)) AS t(p, r);
SELECT dlm_calibration_error(p, r) FROM (SELECT 0.5, true WHERE false) AS t(p, r);
SELECT dlm_calibration_error(1.5, true);
SELECT g, round(dlm_calibration_error(p, r)::numeric, 4), round(dlm_calibration_error(p, r) FILTER (WHERE r)::numeric, 4) AS right
FROM (VALUES (1, 0.9, true), (1, 0.7, false), (2, 0.6, true), (2, 0.6, true)) AS t(g, p, r) GROUP BY g ORDER BY g;
SELECT dlm_calibration_step(NULL, 0.5, true);
