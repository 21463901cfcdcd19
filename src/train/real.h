/*
 * real.h - the number type of the trainer.
 *
 * The same source is compiled twice: in float, which is what trains, and in
 * double (-DDL_TRAIN_DOUBLE), which is what tests compare with finite
 * differences. The double build's symbols end in _f64, so that one program may
 * hold both.
 */
#ifndef DL_REAL_H
#define DL_REAL_H

#include <math.h>
#include <stddef.h>

#ifdef DL_TRAIN_DOUBLE

typedef double dl_real;

#define dl_real_exp		exp
#define dl_real_log		log
#define dl_real_erf		erf
#define dl_real_tanh	tanh
#define dl_real_sqrt	sqrt

#define dl_params_bytes		dl_params_bytes_f64
#define dl_params_create	dl_params_create_f64
#define dl_params_free		dl_params_free_f64
#define dl_params_find		dl_params_find_f64
#define dl_params_clear		dl_params_clear_f64
#define dl_unpack			dl_unpack_f64
#define dl_multiply_panels	dl_multiply_panels_f64
#define dl_multiply_rows	dl_multiply_rows_f64
#define dl_multiply_turned	dl_multiply_turned_f64
#define dl_add_column_sums	dl_add_column_sums_f64
#define dl_add_norm_sums	dl_add_norm_sums_f64
#define dl_dense_scratch_carve	dl_dense_scratch_carve_f64
#define dl_factors_backward	dl_factors_backward_f64
#define dl_panels_size		dl_panels_size_f64
#define dl_panels_side		dl_panels_side_f64
#define dl_panels_forward	dl_panels_forward_f64
#define dl_panels_back		dl_panels_back_f64
#define dl_panels_of_rows	dl_panels_of_rows_f64
#define dl_can_fuse			dl_can_fuse_f64
#define dl_fused_forward	dl_fused_forward_f64
#define dl_fused_back		dl_fused_back_f64
#define dl_weight_row		dl_weight_row_f64
#define dl_transpose		dl_transpose_f64
#define dl_turn				dl_turn_f64
#define dl_turned_size		dl_turned_size_f64
#define dl_copied_size		dl_copied_size_f64
#define dl_exp_row			dl_exp_row_f64
#define dl_most				dl_most_f64
#define dl_add_row			dl_add_row_f64
#define dl_attention_scratch	dl_attention_scratch_f64
#define dl_attend_head			dl_attend_head_f64
#define dl_attend_head_back		dl_attend_head_back_f64
#define dl_stage			dl_stage_f64
#define dl_batch_begin		dl_batch_begin_f64
#define dl_batch_row		dl_batch_row_f64
#define dl_batch_ask		dl_batch_ask_f64
#define dl_batch_end		dl_batch_end_f64
#define dl_batch_run		dl_batch_run_f64
#define dl_teacher_run		dl_teacher_run_f64
#define dl_norm_sums_w		dl_norm_sums_w_f64
#define dl_norm_sums_b		dl_norm_sums_b_f64
#define dl_norm_sums_clear	dl_norm_sums_clear_f64
#define dl_norm_sums_add	dl_norm_sums_add_f64
#define dl_unpack_rows		dl_unpack_rows_f64
#define dl_dense_forward	dl_dense_forward_f64
#define dl_multiply_columns	dl_multiply_columns_f64
#define dl_dense_backward	dl_dense_backward_f64
#define dl_norm_forward		dl_norm_forward_f64
#define dl_norm_backward	dl_norm_backward_f64
#define dl_act_forward		dl_act_forward_f64
#define dl_act_backward		dl_act_backward_f64
#define dl_rope_turn		dl_rope_turn_f64
#define dl_rope_back		dl_rope_back_f64
#define dl_layer_run		dl_layer_run_f64
#define dl_layer_back		dl_layer_back_f64
#define dl_embed_run		dl_embed_run_f64
#define dl_embed_back		dl_embed_back_f64
#define dl_states_bytes		dl_states_bytes_f64
#define dl_states_create	dl_states_create_f64
#define dl_states_free		dl_states_free_f64
#define dl_states_find		dl_states_find_f64
#define dl_states_threads	dl_states_threads_f64
#define dl_length_threads	dl_length_threads_f64
#define dl_length_layer_run	dl_length_layer_run_f64
#define dl_length_layer_back	dl_length_layer_back_f64
#define dl_length_sizes		dl_length_sizes_f64
#define dl_length_bytes		dl_length_bytes_f64
#define dl_length_create	dl_length_create_f64
#define dl_length_free		dl_length_free_f64
#define dl_length_forward	dl_length_forward_f64
#define dl_length_logprobs	dl_length_logprobs_f64
#define dl_length_loss		dl_length_loss_f64
#define dl_length_backward	dl_length_backward_f64
#define dl_net_bytes		dl_net_bytes_f64
#define dl_net_create		dl_net_create_f64
#define dl_net_free			dl_net_free_f64
#define dl_net_threads		dl_net_threads_f64
#define dl_net_forward		dl_net_forward_f64
#define dl_net_logits		dl_net_logits_f64
#define dl_net_loss			dl_net_loss_f64
#define dl_net_logprob		dl_net_logprob_f64
#define dl_net_backward		dl_net_backward_f64
#define dl_net_stopped		dl_net_stopped_f64
#define dl_head_run			dl_head_run_f64
#define dl_head_back		dl_head_back_f64
#define dl_dropout			dl_dropout_f64
#define dl_adamw_bytes		dl_adamw_bytes_f64
#define dl_train_bytes		dl_train_bytes_f64
#define dl_adamw_create		dl_adamw_create_f64
#define dl_adamw_free		dl_adamw_free_f64
#define dl_adamw_step		dl_adamw_step_f64
#define dl_clip_gradients	dl_clip_gradients_f64
#define dl_rate_at			dl_rate_at_f64
#define dl_dataset_create	dl_dataset_create_f64
#define dl_dataset_free		dl_dataset_free_f64
#define dl_dataset_source	dl_dataset_source_f64
#define dl_dataset_weigh	dl_dataset_weigh_f64
#define dl_dataset_add		dl_dataset_add_f64
#define dl_dataset_hold_out	dl_dataset_hold_out_f64
#define dl_dataset_check	dl_dataset_check_f64
#define dl_dataset_weigh	dl_dataset_weigh_f64
#define dl_dataset_digest	dl_dataset_digest_f64
#define dl_tokenise_instruction	dl_tokenise_instruction_f64
#define dl_tokenise_text	dl_tokenise_text_f64
#define dl_dataset_keep		dl_dataset_keep_f64
#define dl_mask_space_bytes	dl_mask_space_bytes_f64
#define dl_mask_space_over	dl_mask_space_over_f64
#define dl_masking_check	dl_masking_check_f64
#define dl_mask_tokens		dl_mask_tokens_f64
#define dl_mask_most_tokens	dl_mask_most_tokens_f64
#define dl_mask_most_asks	dl_mask_most_asks_f64
#define dl_mask_mean_tokens	dl_mask_mean_tokens_f64
#define dl_mask_view		dl_mask_view_f64
#define dl_mask_validation	dl_mask_validation_f64
#define dl_mask_question	dl_mask_question_f64
#define dl_choose_fields	dl_choose_fields_f64
#define dl_batches_limits	dl_batches_limits_f64
#define dl_batches_epoch_steps	dl_batches_epoch_steps_f64
#define dl_batches_bytes	dl_batches_bytes_f64
#define dl_batches_create	dl_batches_create_f64
#define dl_batches_free		dl_batches_free_f64
#define dl_batches_next		dl_batches_next_f64
#define dl_batches_part		dl_batches_part_f64
#define dl_batches_again	dl_batches_again_f64
#define dl_batches_row		dl_batches_row_f64
#define dl_batches_validation	dl_batches_validation_f64
#define dl_batches_save		dl_batches_save_f64
#define dl_batches_restore	dl_batches_restore_f64

#else

typedef float dl_real;

#define dl_real_exp		expf
#define dl_real_log		logf
#define dl_real_erf		erff
#define dl_real_tanh	tanhf
#define dl_real_sqrt	sqrtf

#endif							/* DL_TRAIN_DOUBLE */

/*
 * Carve arrays out of a block, 64-byte aligned. base NULL only counts: one
 * layout function both predicts the bytes and hands them out.
 */
static inline void *
dl_carve_bytes(void *base, size_t *at, size_t size)
{
	void	   *p = base != NULL ? (char *) base + *at : NULL;

	*at += (size + 63) & ~(size_t) 63;
	return p;
}

static inline dl_real *
dl_carve_reals(void *base, size_t *at, size_t count)
{
	return dl_carve_bytes(base, at, count * sizeof(dl_real));
}

/* What a block of the arena takes from its limit: arena.c puts one alignment unit before it. */
static inline size_t
dl_block_bytes(size_t size)
{
	return ((size + 63) & ~(size_t) 63) + 64;
}

#endif							/* DL_REAL_H */
